#!/usr/bin/env bash
# Everything that must hold, stage by stage, with the seconds each took.
set -euo pipefail
cd "$(dirname "$0")/../.."
mkdir -p target/tools

log=target/tools/install.log
# In a process group of its own, to be ended as a whole.
set -m
bash tests/tools/install.sh >"$log" 2>&1 </dev/null &
install=$!
set +m

leave() {
  [ -n "$install" ] || return 0
  kill -TERM -- "-$install" 2>/dev/null || true
  wait "$install" 2>/dev/null || true
}
trap leave EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

installed() {
  [ -n "$install" ] || return 0
  local code=0
  wait "$install" || code=$?
  install=
  if [ "$code" -ne 0 ]; then
    cat "$log" >&2
    echo "The test tools could not be installed (above)." >&2
    exit 1
  fi
}

# A failed installation is told at the next stage, not after all the builds.
stage() {
  local name=$1 began=$SECONDS
  shift
  if [ -n "$install" ] && ! kill -0 "$install" 2>/dev/null; then installed; fi
  printf '== %s\n' "$name"
  "$@" </dev/null
  printf '== %s: %d s\n' "$name" "$((SECONDS - began))"
}

export ZENGATE_TEST_PYTHON=$PWD/target/tools/venv/bin/python
# Relative to the crate, where cargo runs tests: the command is split at spaces, a path here may have some.
export ZENGATE_TEST_SPEC_LINT="target/tools/node/node_modules/.bin/redocly lint --config tests/tools/redocly.yaml"
export ZENGATE_TEST_NODE_MODULES=$PWD/target/tools/node/node_modules
export REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true

found() {
  installed
  ZENGATE_TEST_PROMTOOL=$(command -v promtool)
  ZENGATE_TEST_STRACE=$(command -v strace)
  ZENGATE_TEST_NODE=$(command -v node)
  ZENGATE_TEST_CHROMIUM=$(command -v chromium)
  ZENGATE_TEST_HAPROXY=$(command -v haproxy || echo /usr/sbin/haproxy)
  ZENGATE_TEST_POSTGRES_BIN=$(sh tests/tools/postgres_bin.sh)
  export ZENGATE_TEST_PROMTOOL ZENGATE_TEST_STRACE ZENGATE_TEST_NODE ZENGATE_TEST_CHROMIUM ZENGATE_TEST_HAPROXY
  export ZENGATE_TEST_POSTGRES_BIN
  test -x "$ZENGATE_TEST_PYTHON"
  test -x "${ZENGATE_TEST_SPEC_LINT%% *}"
  test -x target/tools/bin/cargo-deny
  test -x target/tools/helm/helm
}

dependencies() {
  target/tools/bin/cargo-deny --offline --locked --config tests/tools/deny.toml check bans licenses sources
}

none_ignored() {
  if grep -rnE '#\[ignore|#!\[ignore' src tests benches; then
    echo "A test that is ignored checks nothing." >&2
    return 1
  fi
}

# One PostgreSQL for all tests; it ends with this script, which holds its standard input.
tests() {
  local port said
  port=$("$ZENGATE_TEST_PYTHON" -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
  coproc SERVER { exec sh tests/support/postgres.sh "$ZENGATE_TEST_POSTGRES_BIN" "$port" 'c@nary/secret'; }
  echo start >&"${SERVER[1]}"
  read -r said <&"${SERVER[0]}"
  [ "$said" = done ] || { echo "PostgreSQL: $said" >&2; return 1; }
  ZENGATE_TEST_POSTGRES=127.0.0.1:$port cargo test --locked
}

chart() { (cd tests/chart && PYTHONDONTWRITEBYTECODE=1 "$ZENGATE_TEST_PYTHON" -m unittest -q); }

stage "format" cargo fmt --all --check
stage "lint" cargo clippy --locked --all-targets --features bench -- -D warnings
stage "lint without the simulator" cargo clippy --locked --no-default-features --lib --bins -- -D warnings
stage "build" cargo test --locked --no-run
stage "tools (beside the builds)" found
stage "no test is skipped" none_ignored
stage "spelling" target/tools/venv/bin/typos
stage "licences and sources of dependencies" dependencies
stage "chart" chart
stage "test" tests
printf '== all: %d s\n' "$SECONDS"
