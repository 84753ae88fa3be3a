# shellcheck shell=bash
# Paths, words and small steps that the scripts share. Sourced, never run.

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export REDKITE_CACHE=${REDKITE_CACHE:-$HOME/.cache/redkite}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$REDKITE_CACHE/target}
export PATH=$REDKITE_CACHE/cluster-bin:$REDKITE_CACHE/bin:$REDKITE_CACHE/go/bin:$HOME/.cargo/bin:$PATH
RELEASE=$CARGO_TARGET_DIR/release
mkdir -p "$REDKITE_CACHE"

if [ -t 1 ]; then BOLD=$'\e[1m' RED=$'\e[31m' PLAIN=$'\e[0m'; else BOLD='' RED='' PLAIN=''; fi

say() { printf '%s==>%s %s\n' "$BOLD" "$PLAIN" "$*"; }
warn() { printf '%s%s%s\n' "$RED" "$*" "$PLAIN" >&2; }
die() {
  warn "$*"
  exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# clock: seconds since this script began, as 3m07s.
clock() { printf '%dm%02ds' $((SECONDS / 60)) $((SECONDS % 60)); }

# quietly TITLE COMMAND…: runs it with a line that shows it is alive; its output is printed only when it fails.
quietly() {
  local title=$1 log begin=$SECONDS job status=0
  shift
  log=$(mktemp)
  "$@" >"$log" 2>&1 &
  job=$!
  if [ -t 1 ]; then
    while kill -0 "$job" 2>/dev/null; do
      printf '\r    %s … %ds ' "$title" $((SECONDS - begin))
      sleep 1
    done
    printf '\r\e[K'
  fi
  wait "$job" || status=$?
  if [ "$status" -ne 0 ]; then
    cat "$log" >&2
    rm -f "$log"
    warn "$title failed"
    return "$status"
  fi
  rm -f "$log"
  printf '    %s: %ds\n' "$title" $((SECONDS - begin))
}

# wait_for TITLE SECONDS COMMAND…: until the command succeeds; fails after that many seconds.
wait_for() {
  local title=$1 limit=$2 begin=$SECONDS
  shift 2
  until "$@" >/dev/null 2>&1; do
    if [ $((SECONDS - begin)) -ge "$limit" ]; then
      warn "$title: not after $limit s"
      return 1
    fi
    sleep 0.2
  done
}

# venv NAME REQUIREMENTS: makes the Python environment of exactly those pins in the cache, once, and prints its folder.
venv() {
  local name=$1 pins=$2 hash folder
  hash=$({ cat "$pins" && python3 -V; } | sha256sum | cut -c1-12)
  folder=$REDKITE_CACHE/venv-$name-$hash
  if [ ! -e "$folder/complete" ]; then
    rm -rf "$folder"
    quietly "Python environment $name" make_venv "$folder" "$pins" >&2 || die "the Python environment $name could not be made"
    touch "$folder/complete"
  fi
  echo "$folder"
}

# The pins name every package, so pip resolves nothing (and brings no package that a client declares but never imports here).
make_venv() {
  python3 -m venv "$1" &&
    "$1/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --requirement "$2"
}

# free_port: a TCP port that nobody listens on right now.
free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# start_engine FOLDER [FLAG…]: starts the release binary with its data and log in FOLDER; sets ENGINE_PID, ENGINE_PORT, ENGINE_URI.
start_engine() {
  local folder=$1 metrics
  shift
  mkdir -p "$folder"
  ENGINE_PORT=$(free_port)
  metrics=$(free_port)
  ENGINE_URI=http://127.0.0.1:$ENGINE_PORT
  "$RELEASE/redkite" run standalone --data-dir "$folder/data" --listen "127.0.0.1:$ENGINE_PORT" \
    --metrics-listen "127.0.0.1:$metrics" "$@" >>"$folder/log" 2>&1 &
  ENGINE_PID=$!
  ENGINE_HEALTH=http://127.0.0.1:$metrics/healthz
  if ! wait_for "the engine's /healthz" 60 engine_answers; then
    tail -n 30 "$folder/log" >&2
    stop_engine
    return 1
  fi
}

engine_answers() { curl --silent --fail --max-time 2 "$ENGINE_HEALTH"; }

stop_engine() {
  [ -n "${ENGINE_PID:-}" ] || return 0
  kill "$ENGINE_PID" 2>/dev/null || true
  wait "$ENGINE_PID" 2>/dev/null || true
  ENGINE_PID=
}
