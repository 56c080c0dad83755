"""The trees of every size by `aics-tlog`: writes each line of a file (see sizes.rs) anew, and compares.

    python sizes.py FILE

It prints one line that begins with "PASS", or the first line that differs, and then ends with status 1.
"""

import base64
import hashlib
import sys

from aics_tlog import Checkpoint, MerkleTree, parse_note, sign_checkpoint, verify_checkpoint, vkey_from_ed25519
from aics_tlog.tiles import materialise_tiles
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def digest(data):
    return hashlib.sha256(data).hexdigest()


def joined(proof):
    return ",".join(base64.b64encode(node).decode() for node in proof)


def places(size, step):
    return [place for place in range(size) if place % step == 0 or place + 1 == size]


def proofs(size, step, prove):
    return digest("".join(f"{place} {joined(prove(place))}\n" for place in places(size, step)).encode())


class Trees:
    """The trees over "entry 0\\n", "entry 1\\n" and so on, and the key of the log."""

    def __init__(self, secret):
        # PRIVATE+KEY+<name>+<id>+<base64 of the algorithm and the seed>
        _, _, self.name, _, seed = secret.split("+", 4)
        self.key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(seed)[1:])
        self.tree = MerkleTree()

    def describe(self, kind, size, rest):
        while self.tree.size < size:
            self.tree.append(b"entry %d\n" % self.tree.size)
        if kind == "root":
            return base64.b64encode(self.tree.root(size)).decode()
        if kind == "note":
            return digest(self.note(size))
        if kind == "files":
            files = materialise_tiles([self.tree.leaf_data(n) for n in range(size)])
            return digest("".join(f"{path} {digest(files[path])}\n" for path in sorted(files)).encode())
        step = int(rest[0])
        if kind == "inclusion":
            found = proofs(size, step, lambda place: self.tree.inclusion_proof(place, size))
        elif kind == "consistency":
            found = proofs(size, step, lambda place: self.tree.consistency_proof(place + 1, size))
        else:
            raise ValueError(f"unknown kind {kind}")
        return f"{step} {found}"

    def note(self, size):
        note = sign_checkpoint(Checkpoint(self.name, size, self.tree.root(size)), self.key, self.name).to_bytes()
        key = vkey_from_ed25519(self.name, self.key.public_key())
        result = verify_checkpoint(parse_note(note), key, expected_origin=self.name)
        assert result.ok and result.size == size, result
        return note


def main(path):
    counts = {}
    with open(path, encoding="utf-8") as lines:
        trees = Trees(next(lines).split(" ")[1])
        for line in lines:
            line = line.rstrip("\n")
            kind, size, *rest = line.split(" ")
            expected = f"{kind} {size} {trees.describe(kind, int(size), rest)}"
            if line != expected:
                sys.exit(f"FAIL {line}: should be {expected}")
            counts[kind] = counts.get(kind, 0) + 1
    print(
        f"PASS {counts['root']} roots, {counts['note']} notes, {counts['files']} sets of files, "
        f"{counts['inclusion']} of inclusion proofs, {counts['consistency']} of consistency proofs"
    )


if __name__ == "__main__":
    main(sys.argv[1])
