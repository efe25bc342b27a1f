#!/usr/bin/env bash
# Checks a running daemon against its own description with schemathesis (https://schemathesis.readthedocs.io):
#   tests/schemathesis.sh http://127.0.0.1:7423
# The event stream never ends, and a plan may be answered with "busy"; both have tests of their own.
#   SERIN_SCHEMATHESIS  the program (schemathesis)
#   SERIN_TOKEN         a token of an admin, where the daemon wants to know who asks
#   EXAMPLES, SEED      how many requests are tried for each operation and phase, and from which seed
set -euo pipefail
base=${1:?the address of a daemon, such as http://127.0.0.1:7423}
more=()
if [ -n "${SERIN_TOKEN:-}" ]; then more=(--header "Authorization: Bearer $SERIN_TOKEN"); fi
exec "${SERIN_SCHEMATHESIS:-schemathesis}" --config-file "$(dirname "$0")/schemathesis.toml" run "$base/api/v1/openapi.json" --url "$base" \
    --exclude-path /api/v1/stream --exclude-path '/api/v1/policies/{name}/plan' \
    --max-examples "${EXAMPLES:-50}" --seed "${SEED:-1}" --request-timeout 20 --rate-limit 45/s ${more[@]+"${more[@]}"}
