#!/usr/bin/env bash
# Installs what the tests need and the machine lacks: apt packages, a Python venv, npm packages.
# Quick when all is there. Starts no service.
set -euo pipefail
cd "$(dirname "$0")/../.."
here=tests/tools
out=target/tools
mkdir -p "$out"

packages=()
command -v promtool >/dev/null || packages+=(prometheus)
command -v strace >/dev/null || packages+=(strace)
python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)
if ((${#packages[@]})); then
  command="apt-get update && apt-get install -y --no-install-recommends ${packages[*]}"
  if [ "$(id -u)" -ne 0 ]; then
    echo "The tests need ${packages[*]}. Run this as root, then try again:" >&2
    echo "  $command" >&2
    exit 1
  fi
  # Debian starts what it installs unless told not to.
  guard=/usr/sbin/policy-rc.d
  if [ ! -e "$guard" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$guard"
    chmod 755 "$guard"
    trap 'rm -f "$guard"' EXIT
  fi
  export DEBIAN_FRONTEND=noninteractive
  bash -c "$command" </dev/null
fi

# A stamp names what was installed: the files that ask for it, and the interpreters.
stamp() { { cat "$@"; python3 --version; node --version; } | sha256sum | cut -d' ' -f1; }

wanted=$(stamp "$here/requirements.txt")
if [ "$(cat "$out/venv/stamp" 2>/dev/null)" != "$wanted" ]; then
  rm -rf "$out/venv"
  python3 -m venv "$out/venv"
  "$out/venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
  echo "$wanted" >"$out/venv/stamp"
fi

wanted=$(stamp "$here/package.json" "$here/package-lock.json" "$here/.npmrc")
if [ "$(cat "$out/node/stamp" 2>/dev/null)" != "$wanted" ]; then
  rm -rf "$out/node"
  mkdir -p "$out/node"
  cp "$here/package.json" "$here/package-lock.json" "$here/.npmrc" "$out/node/"
  (cd "$out/node" && npm ci --ignore-scripts --no-progress --loglevel=error)
  echo "$wanted" >"$out/node/stamp"
fi
