#!/usr/bin/env bash
# Publishes every `.crate` that a project depends on into a fresh registry, and lets the real cargo resolve the project
# and build a program from it, with crates.io replaced by that registry and nothing else reachable.
#   tests/real-input.sh directory|s3 [ours|web]      s3: the server that the AWS_* variables name
# `ours` is this workspace, and the program is `drystone`. `web` is the project in ../shared/data/web, and the program is
# a small one that uses some of its dependencies.
set -euo pipefail
cd "$(dirname "$0")/.."
kind=${1:?directory or s3} project=${2:-ours}
work=$(mktemp -d)
pids=()
cleanup() { for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done; rm -rf "$work"; }
trap cleanup EXIT

program=${CARGO_TARGET_DIR:-target}/debug/drystone
cargo build --quiet --workspace --features drystone/s3
program=$(realpath "$program")
cache=${CARGO_HOME:-$HOME/.cargo}/registry/cache

# What is resolved and built, with the lock file that it must come to, in $work/source.
mkdir "$work/source"
case $project in
ours)
  git ls-files -z | xargs -0 cp --parents -t "$work/source"
  build=(-p drystone --config 'profile.dev.package."*".opt-level=0') show=(drystone --version)
  ;;
web)
  cp ../shared/data/web/Cargo.{toml,lock} "$work/source"
  chmod u+w "$work/source"/Cargo.*
  mkdir -p "$work/source/src" "$work/source/small/src"
  echo 'fn main() {}' >"$work/source/src/main.rs"
  printf '[workspace]\nmembers = ["small"]\n' >>"$work/source/Cargo.toml"
  cat >"$work/source/small/Cargo.toml" <<'TOML'
[package]
name = "small"
version = "0.1.0"
edition = "2024"
[dependencies]
clap = { version = "4", features = ["derive"] }
serde = { version = "1", features = ["derive"] }
serde_json = "1"
TOML
  cat >"$work/source/small/src/main.rs" <<'RUST'
use clap::Parser;

#[derive(Parser, serde::Serialize)]
struct Args {
    name: String,
}

fn main() {
    println!("{}", serde_json::to_string(&Args::parse()).unwrap());
}
RUST
  build=(-p small) show=(small web)
  # The lock file learns of the small program, and of nothing else.
  (cd "$work/source" && cargo update --quiet --workspace)
  ;;
*) echo "ours or web" >&2; exit 2 ;;
esac
cp "$work/source/Cargo.lock" "$work/Cargo.lock"
# Dependencies for other systems are in the lock file too.
(cd "$work/source" && cargo fetch --locked --quiet)

# Only the archives of our lock file: the cache may hold others.
mkdir "$work/crates"
python3 - "$cache" "$work/crates" "$work/Cargo.lock" <<'PY'
import os, shutil, sys, tomllib
cache, out, lock = sys.argv[1:]
lock = tomllib.load(open(lock, "rb"))
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

# The sources without their lock file, and a cargo that knows only the registry.
mkdir "$work/cargo"
rm "$work/source/Cargo.lock"
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
  cargo build --quiet "${build[@]}"
  "./target/debug/${show[0]}" "${show[@]:1}"
)
python3 - "$work/Cargo.lock" "$work/source/Cargo.lock" <<'PY'
import sys, tomllib
ours, theirs = ({(p["name"], p["version"], p.get("checksum")) for p in tomllib.load(open(f, "rb"))["package"]} for f in sys.argv[1:])
assert ours == theirs, f"only in ours: {sorted(ours - theirs)}, only in theirs: {sorted(theirs - ours)}"
print(f"{len(ours)} packages resolved to the versions and checksums of the lock file")
PY
echo "cargo resolved and built in $(($(date +%s) - began)) s"
