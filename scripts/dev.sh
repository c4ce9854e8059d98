#!/usr/bin/env bash
# Runs `titan dev`, and rebuilds and restarts it whenever a source file changes. Its arguments go to `titan dev`.
# A build that fails leaves the last good one running.
set -u
cd "$(dirname "$0")/.."

program=${CARGO_TARGET_DIR:-target}/debug/titan
sources=(api telemetry lua coordinator-http agent cli Cargo.toml Cargo.lock)
stamp=$(mktemp)
pid=

say() { printf 'dev: %s\n' "$*" >&2; }

stop() {
    [ -n "$pid" ] || return 0
    kill -TERM "$pid" 2>/dev/null
    wait "$pid"
    pid=
}

# finish SIGNAL : Ctrl-C has reached `titan dev` as well, and a second signal would end it the hard way.
finish() {
    trap - INT TERM
    if [ "$1" = INT ] && [ -n "$pid" ]; then wait "$pid"; else stop; fi
    rm -f "$stamp"
    exit 0
}
trap 'finish INT' INT
trap 'finish TERM' TERM

changed() {
    find "${sources[@]}" -type f \( -name '*.rs' -o -name '*.lua' -o -name '*.toml' -o -name '*.lock' \) -newer "$stamp" |
        grep -q .
}

while true; do
    touch "$stamp" # before the build, so that what is edited meanwhile is seen
    if cargo build --workspace --bins; then
        stop
        "$program" dev "$@" </dev/null &
        pid=$!
        say "started; watching for changes"
    else
        say "does not build; watching for changes${pid:+ (the last good build goes on running)}"
    fi
    until changed; do
        if [ -n "$pid" ] && ! kill -0 "$pid" 2>/dev/null; then
            wait "$pid"
            say "titan dev ended by itself with status $?; it starts again with the next change"
            pid=
        fi
        sleep 1
    done
    say "something changed"
done
