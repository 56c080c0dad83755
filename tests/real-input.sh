#!/usr/bin/env bash
# Publishes every `.crate` that this workspace depends on into a fresh registry, and lets the real cargo resolve and
# build our own program from it, with crates.io replaced by that registry and nothing else reachable.
#   tests/real-input.sh directory|s3      s3: the server that the AWS_* variables name
set -euo pipefail
cd "$(dirname "$0")/.."
kind=${1:?directory or s3}
work=$(mktemp -d)
pids=()
cleanup() { for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done; rm -rf "$work"; }
trap cleanup EXIT

program=${CARGO_TARGET_DIR:-target}/debug/drystone
cargo build --quiet --workspace --features drystone/s3
program=$(realpath "$program")
cache=${CARGO_HOME:-$HOME/.cargo}/registry/cache
# Dependencies for other systems are in the lock file too.
cargo fetch --locked --quiet

# Only the archives of our lock file: the cache may hold others.
mkdir "$work/crates"
python3 - "$cache" "$work/crates" <<'PY'
import os, shutil, sys, tomllib
cache, out = sys.argv[1:]
lock = tomllib.load(open("Cargo.lock", "rb"))
wanted = {f"{p['name']}-{p['version']}.crate" for p in lock["package"] if "source" in p}
for folder in os.listdir(cache):
    for name in wanted & set(os.listdir(os.path.join(cache, folder))):
        if not os.path.exists(os.path.join(out, name)):
            shutil.copyfile(os.path.join(cache, folder, name), os.path.join(out, name))
missing = wanted - set(os.listdir(out))
assert not missing, f"not in cargo's cache: {missing}"
print(f"{len(wanted)} archives")
PY

case $kind in
directory) store=(--data "$work/data") ;;
s3) store=(--store "s3://${S3_BUCKET:-drystone}/real-input-$$-$RANDOM" --key-file "$work/log.key") ;;
*) echo "directory or s3" >&2; exit 2 ;;
esac
"$program" serve "${store[@]}" --listen 127.0.0.1:0 --mirror-crates-io --token-file "$work/token" 2>"$work/serve.log" &
pids+=($!)
for _ in $(seq 600); do
  url=$(sed -n 's/.*Serving .* at \(http.*\)/\1/p' "$work/serve.log")
  [ -n "$url" ] && break
  kill -0 "${pids[0]}" 2>/dev/null || { cat "$work/serve.log" >&2; exit 1; }
  sleep 0.1
done
export DRYSTONE_REGISTRY=$url DRYSTONE_TOKEN; DRYSTONE_TOKEN=$(cat "$work/token")
export DRYSTONE_HOME=$work/home

began=$(date +%s)
"$program" import crates "$work/crates" --json | tail -n 1
echo "imported in $(($(date +%s) - began)) s"
"$program" fsck "$url"

# Our own sources, without their lock file, and a cargo that knows only the registry.
mkdir "$work/source" "$work/cargo"
git ls-files -z | grep -zv '^Cargo.lock$' | xargs -0 cp --parents -t "$work/source"
cat >"$work/cargo/config.toml" <<TOML
[source.crates-io]
replace-with = "drystone"
[source.drystone]
registry = "sparse+$url/index/"
TOML
export CARGO_HOME=$work/cargo
export https_proxy=http://127.0.0.1:9 http_proxy=http://127.0.0.1:9 no_proxy=127.0.0.1 NO_PROXY=127.0.0.1
unset CARGO_TARGET_DIR
began=$(date +%s)
(
  cd "$work/source"
  cargo generate-lockfile --quiet
  cargo fetch --quiet
  cargo build --quiet -p drystone --config 'profile.dev.package."*".opt-level=0'
  ./target/debug/drystone --version
)
python3 - Cargo.lock "$work/source/Cargo.lock" <<'PY'
import sys, tomllib
ours, theirs = ({(p["name"], p["version"], p.get("checksum")) for p in tomllib.load(open(f, "rb"))["package"]} for f in sys.argv[1:])
assert ours == theirs, f"only in ours: {sorted(ours - theirs)}, only in theirs: {sorted(theirs - ours)}"
print(f"{len(ours)} packages resolved to the versions and checksums of our own lock file")
PY
echo "cargo resolved and built in $(($(date +%s) - began)) s"
