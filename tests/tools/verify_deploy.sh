#!/usr/bin/env bash
# Builds the image and runs it, the compose file's commands and the unit's, as far as one machine goes. By hand, as root
# on Debian; `make tools` and `cargo build` come before. Writes nothing outside target/, but for the packages it installs.
#   ZENGATE_BUILD_OPTIONS  further options of `buildah bud`: a proxy's authorities, say
#   ZENGATE_RUST_IMAGE     the image to build in; default: one made here of Debian's packages and this toolchain
#   ZENGATE_VERIFY_TWICE   set: build once more without a cache, and compare
set -euo pipefail
cd "$(dirname "$0")/../.."
out=$PWD/target/verify
mkdir -p "$out/tmp"
export TMPDIR=$out/tmp

packages=()
for tool in buildah podman runc mmdebstrap; do command -v "$tool" >/dev/null || packages+=("$tool"); done
if ((${#packages[@]})); then
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${packages[@]}"
fi
if [ "$("$out/checkov/bin/checkov" --version 2>/dev/null)" != 3.3.30 ]; then
  python3 -m venv "$out/checkov"
  "$out/checkov/bin/pip" install --quiet --no-input checkov==3.3.30
fi

# Images and containers of this script alone.
export CONTAINERS_STORAGE_CONF=$out/storage.conf CONTAINERS_CONF=$out/containers.conf
printf '[storage]\ndriver = "overlay"\ngraphroot = "%s"\nrunroot = "%s"\n' "$out/images" "$out/run" >"$CONTAINERS_STORAGE_CONF"
cat >"$CONTAINERS_CONF" <<CONF
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
tmp_dir = "$out/run/libpod"
static_dir = "$out/images/libpod"
volume_path = "$out/images/volumes"
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]
CONF

rust=${ZENGATE_RUST_IMAGE:-localhost/zengate-rust:debian-bookworm}
if [ -z "${ZENGATE_RUST_IMAGE:-}" ] && ! buildah inspect --type image "$rust" >/dev/null 2>&1; then
  echo "== a base with this toolchain"
  mmdebstrap --quiet --variant=minbase --include=ca-certificates,gcc,libc6-dev bookworm "$out/tmp/base.tar"
  container=$(buildah from scratch)
  buildah add -q "$container" "$out/tmp/base.tar" / >/dev/null
  for part in bin lib libexec etc; do
    from=$(rustc --print sysroot)/$part
    [ ! -d "$from" ] || buildah add -q "$container" "$from" "/usr/local/$part" >/dev/null
  done
  buildah config --env CARGO_HOME=/usr/local/cargo "$container"
  buildah commit -q --rm "$container" "$rust" >/dev/null
  rm "$out/tmp/base.tar"
fi

build() {
  local tag=$1
  shift
  # HEALTHCHECK is Docker's. The words of the options are split on purpose.
  # shellcheck disable=SC2086
  buildah bud --format docker --isolation chroot --pull-never --timestamp 0 --build-arg RUST_IMAGE="$rust" \
    --build-arg REVISION="$(git rev-parse HEAD)" --label io.buildah.version= ${ZENGATE_BUILD_OPTIONS:-} "$@" -t "$tag" . \
    >"$out/build.log" 2>&1 || { tail -n 40 "$out/build.log" >&2; exit 1; }
}

began=$SECONDS
build localhost/zengate:verify --layers
export ZENGATE_VERIFY_BUILD_SECONDS=$((SECONDS - began))
if [ -n "${ZENGATE_VERIFY_TWICE:-}" ]; then
  build localhost/zengate:again --no-cache
fi
nice -n 5 cargo build --locked --quiet
PYTHONDONTWRITEBYTECODE=1 target/tools/venv/bin/python tests/chart/verify.py localhost/zengate:verify "$out"
