#!/usr/bin/env bash
# Asks a publisher for whatever its description lets one ask, by schemathesis: no answer may be a failure of the server, none undescribed.
#   tests/api.sh             30 examples of each operation
#   tests/api.sh 1000        as many as that
set -euo pipefail
cd "$(dirname "$0")/.."
version=4.32.5
tool=target/schemathesis-$version
if [ ! -x "$tool/bin/schemathesis" ]; then
  python3 -m venv "$tool"
  "$tool/bin/pip" install --quiet "schemathesis==$version"
fi
work=$(mktemp -d)
trap 'kill ${server:-} 2>/dev/null || true; rm -rf "$work"' EXIT
printf '[limits]\n' >"$work/serve.toml"
for limit in anonymous_requests_per_hour signed_in_requests_per_hour searches_per_minute logins_per_5_minutes uploads_per_day packages_per_account; do
  echo "${limit}_max = 100000000" >>"$work/serve.toml"
done
target/debug/drystone serve --data "$work/data" --listen 127.0.0.1:0 --token-file "$work/token" --open-registration \
  --issuer oidc=http://127.0.0.1:9 --config "$work/serve.toml" 2>"$work/log" &
server=$!
for _ in $(seq 300); do grep -q Serving "$work/log" && break; kill -0 "$server"; sleep 0.1; done
url=$(grep -o 'http://127.0.0.1:[0-9]*' "$work/log" | head -1)
export DRYSTONE_REGISTRY=$url DRYSTONE_TOKEN
DRYSTONE_TOKEN=$(cat "$work/token")
here=$PWD
(cd "$work" && "$here/target/debug/drystone" init greeting >/dev/null && sed -i 's/0.1.0/1.0.0/' greeting/drystone.toml &&
  echo x >greeting/a.txt && "$here/target/debug/drystone" publish greeting >/dev/null)
signed_in=$(curl -sS "$url/api/v1/auth/register" -d '{"username": "ann", "email": "ann@example.org", "password": "four words of mine"}')
session=$(python3 -c 'import json, sys; print(json.load(sys.stdin)["token"])' <<<"$signed_in")
checks=not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance
run() {
  "$tool/bin/schemathesis" run docs/openapi.json --url "$url" --checks "$checks" --max-examples "$examples" --seed 42 \
    --phases examples,coverage,fuzzing --generation-database none --no-color --header "Authorization: Bearer $@"
}
examples=${1:-30}
# Signing out ends what the others are asked with.
run "$DRYSTONE_TOKEN" --exclude-path /api/v1/auth/logout
run "$session" --exclude-path /api/v1/auth/logout --exclude-path /api/v1/users/me
run nonsense
