#!/usr/bin/env bash
# Installs every Debian 12 package that the project builds, runs and tests
# with; in a second when all are there. Each line says what its packages are
# for. `--list` prints the names only.
set -euo pipefail

packages=(
  build-essential cmake ninja-build              # the build
  clang-format                                   # the style check of the tests
  libopenmpi-dev openmpi-bin                     # messages between ranks
  libdnnl-dev                                    # matrix products on CPUs
  libabsl-dev                                    # Status, strings, containers
  libasio-dev                                    # connections of the watchdog
  libcli11-dev                                   # command lines
  libprotobuf-dev protobuf-compiler              # configuration
  nlohmann-json3-dev                             # JSON in and out
  libxxhash-dev                                  # digests and keys
  sentencepiece                                  # spm_train; the tests' oracle
  libgtest-dev libgmock-dev                      # tests
  procps mount                                   # tests: pgrep, small disks
  iproute2                                       # tests over two hosts
  slurmctld slurmd slurm-client                  # tests under Slurm
  slurm-wlm-basic-plugins
  bible-kjv bible-kjv-text                       # the quick start's corpus
  python3-venv python3-dev                       # comparisons with transformers
  python3-matplotlib                             # plots of metrics.jsonl
)

if [[ "${1:-}" == --list ]]; then
  printf '%s\n' "${packages[@]}"
  exit 0
fi

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)
  [[ "$status" == "install ok installed" ]] || missing+=("$package")
done
[[ ${#missing[@]} -eq 0 ]] && exit 0

if [[ $(id -u) -eq 0 ]]; then
  as_root=()
elif command -v sudo >/dev/null; then
  as_root=(sudo)
else
  echo "setup.sh: these Debian packages are missing and installing them" \
       "needs root or sudo: ${missing[*]}" >&2
  exit 69
fi
echo "setup.sh: installing ${missing[*]}" >&2
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
