#!/bin/sh
# Lists every archive of a directory as GNU tar reads it; see main.rs for the format.
# With a second argument, an empty directory, it reads the contents too: there tar makes the directories of archives, so
# that this is for harmless ones.
set -u
export LC_ALL=C.UTF-8 TZ=UTC
cd "$1"
trouble=$(mktemp)
trap 'rm -f "$trouble"' EXIT
for name in *; do
  : >"$trouble"
  tar --list --verbose --absolute-names --numeric-owner --quoting-style=literal -zf "$name" 2>>"$trouble" |
    sed "s|^|$name entry |"
  if [ $# -gt 1 ]; then
    tar --extract --directory "$2" --to-command=sha256sum -zf "$name" 2>>"$trouble" | sed "s|^|$name digest |"
  fi
  if [ -s "$trouble" ]; then printf '%s error %s\n' "$name" "$(tr '\n' ' ' <"$trouble")"; fi
  printf '%s end\n' "$name"
done
