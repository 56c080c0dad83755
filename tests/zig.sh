#!/usr/bin/env bash
# Installs the versions of zig that the tests use, each once, from pinned wheels into a cache directory:
# ${XDG_CACHE_HOME:-~/.cache}/drystone/zig-VERSION. What zig compiles for itself is kept beside it, in zig-cache-VERSION.
set -euo pipefail
cache=${XDG_CACHE_HOME:-$HOME/.cache}/drystone
mkdir -p "$cache"
for version in 0.14.1 0.15.2 0.16.0 0.17.0; do
  ( flock 9
    [[ -x $cache/zig-$version/ziglang/zig ]] && exit
    echo "zig.sh: installing zig $version into $cache" >&2
    [[ -x $cache/pip/bin/pip ]] || python3 -m venv "$cache/pip" >&2
    rm -rf "$cache/zig-$version.new"
    "$cache/pip/bin/pip" -q install --no-deps --target "$cache/zig-$version.new" "ziglang==$version" >&2
    mv "$cache/zig-$version.new" "$cache/zig-$version"
  ) 9>"$cache/zig-$version.lock"
done
