#!/bin/sh
# Checks the dependencies: bans, licences and sources always; known vulnerabilities if their database can be reached.
set -eu
cd "$(dirname "$0")/.."
PATH=$PWD/.tools:$PATH

cargo deny --log-level error check bans licenses sources

if cargo deny --log-level error fetch db 2>/dev/null; then
    cargo deny --log-level error check --disable-fetch advisories
else
    reason="known vulnerabilities of dependencies (the advisory database cannot be reached from here)"
    echo "deny: not checked: $reason" >&2
    # .ci/run counts what was skipped.
    [ -z "${TITAN_SKIP_FILE:-}" ] || echo "$reason" >>"$TITAN_SKIP_FILE"
fi
