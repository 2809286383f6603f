#!/usr/bin/env bash
# Installs what is missing, builds, and runs every test: house rules, units,
# ranks, programs; then the same units under AddressSanitizer and
# UndefinedBehaviorSanitizer.
#
#     launch/test.sh [--peers] [--large] [--no-sanitizers] [ctest options ...]
#
# --peers also compares with Hugging Face transformers, live, in a virtual
# environment that it makes under .venv; without it committed golden numbers
# stand for it. --large also sends messages of more than 2^31 elements, which
# takes 14 GB of memory and a minute.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

peers=
large=
sanitizers=yes
options=()
while [[ $# -gt 0 ]]; do
  case "$1" in
    --peers) peers=yes ;;
    --large) large=yes ;;
    --no-sanitizers) sanitizers= ;;
    -h | --help)
      sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"
      exit 0
      ;;
    *) options+=("$1") ;;
  esac
  shift
done

./launch/setup.sh
jobs=$(nproc)

build() {
  cmake --preset "$1" >/dev/null
  cmake --build --preset "$1" -j "$jobs"
}

if [[ -n "$peers" ]]; then
  MOE_PEERS_PYTHON=$(./launch/venv.sh)
  export MOE_PEERS_PYTHON
fi

build release
if [[ -n "$sanitizers" ]]; then build asan; fi

# Both suites run whatever the first one says; ctest's closing lines end each.
failed=0
left_out=()
if [[ -z "$large" ]]; then left_out=(-LE large); fi
echo "test.sh: release build" >&2
ctest --test-dir build --output-on-failure -j "$jobs" \
  ${left_out[@]+"${left_out[@]}"} ${options[@]+"${options[@]}"} || failed=1
if [[ -n "$sanitizers" ]]; then
  echo "test.sh: build with sanitizers" >&2
  ctest --test-dir build-asan --output-on-failure -j "$jobs" \
    -LE "slow|peers|large|storm" ${options[@]+"${options[@]}"} || failed=1
fi
exit "$failed"
