"""Lists every archive of a directory as Python's tarfile reads it; see main.rs for the format."""

import gzip
import hashlib
import os
import sys
import tarfile

KINDS = {tarfile.REGTYPE: "f", tarfile.AREGTYPE: "f", tarfile.DIRTYPE: "d"}

for name in sorted(os.listdir(sys.argv[1])):
    lines = []
    try:
        with gzip.open(os.path.join(sys.argv[1], name)) as plain:
            with tarfile.open(fileobj=plain, mode="r:") as archive:
                for member in archive:
                    kind = KINDS.get(member.type, "other")
                    data = archive.extractfile(member).read() if kind == "f" else b""
                    path = member.name.encode("utf-8", "surrogateescape")
                    digest = hashlib.sha256(data).hexdigest()
                    lines.append(f"{kind} {path.hex()} {member.size} {digest}")
            # To the end, where the checksum is.
            while plain.read(1 << 20):
                pass
    except Exception as error:  # Any failure is a refusal.
        lines.append(f"error {type(error).__name__}")
    for line in lines:
        print(name, line)
    print(name, "end")
