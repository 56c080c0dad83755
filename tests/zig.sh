#!/usr/bin/env bash
# Installs the versions of zig that the tests use, each once, from pinned wheels into a cache directory:
# ${XDG_CACHE_HOME:-~/.cache}/drystone/zig-VERSION. What zig compiles for itself is kept beside it, in zig-cache-VERSION,
# and is compiled here, where one can see it: the first `zig build` of a version takes much longer than all others.
set -euo pipefail
cache=${XDG_CACHE_HOME:-$HOME/.cache}/drystone
mkdir -p "$cache"

# Builds a program that does nothing, so that zig compiles its build system, its start-up code and its library.
warm() {
  local version=$1 folder
  folder=$(mktemp -d)
  mkdir "$folder/src"
  echo 'pub fn main() void {}' > "$folder/src/main.zig"
  cat > "$folder/build.zig" <<'ZIG'
const std = @import("std");
pub fn build(b: *std.Build) void {
    b.installArtifact(b.addExecutable(.{
        .name = "warm",
        .root_module = b.createModule(.{ .root_source_file = b.path("src/main.zig"), .target = b.graph.host }),
    }));
}
ZIG
  # As in tests/src/zig.rs: Zig 0.17 compiles its own parts unoptimised, in a tenth of the time.
  (cd "$folder" && ZIG_DEBUG_CMD=1 ZIG_GLOBAL_CACHE_DIR="$cache/zig-cache-$version" \
    "$cache/zig-$version/ziglang/zig" build >&2)
  rm -rf "$folder"
}

for version in 0.14.1 0.15.2 0.16.0 0.17.0; do
  ( flock 9
    if [[ ! -x $cache/zig-$version/ziglang/zig ]]; then
      echo "zig.sh: installing zig $version into $cache" >&2
      [[ -x $cache/pip/bin/pip ]] || python3 -m venv "$cache/pip" >&2
      rm -rf "$cache/zig-$version.new"
      "$cache/pip/bin/pip" -q install --no-deps --target "$cache/zig-$version.new" "ziglang==$version" >&2
      mv "$cache/zig-$version.new" "$cache/zig-$version"
    fi
    if [[ ! -e $cache/zig-cache-$version/warm ]]; then
      echo "zig.sh: zig $version compiles its build system, once for all runs" >&2
      started=$SECONDS
      warm "$version"
      touch "$cache/zig-cache-$version/warm"
      echo "zig.sh: zig $version is ready after $((SECONDS - started)) s" >&2
    fi
  ) 9>"$cache/zig-$version.lock"
done
