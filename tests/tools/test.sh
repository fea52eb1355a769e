#!/usr/bin/env bash
# Everything that must hold, stage by stage, with the seconds each took.
set -euo pipefail
cd "$(dirname "$0")/../.."
mkdir -p target/tools

log=target/tools/install.log
bash tests/tools/install.sh >"$log" 2>&1 &
install=$!
trap 'kill "$install" 2>/dev/null || true' EXIT

stage() {
  local name=$1 began=$SECONDS
  shift
  printf '== %s\n' "$name"
  "$@"
  printf '== %s: %d s\n' "$name" "$((SECONDS - began))"
}

installed() {
  wait "$install" || { cat "$log" >&2; echo "The tools could not be installed (above)." >&2; exit 1; }
}

stage "format" cargo fmt --all --check
stage "lint" cargo clippy --locked --all-targets -- -D warnings
stage "lint without the simulator" cargo clippy --locked --no-default-features --lib --bins -- -D warnings
stage "build" cargo test --locked --no-run
stage "tools (beside the build)" installed
stage "test" cargo test --locked
printf '== all: %d s\n' "$SECONDS"
