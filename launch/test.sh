#!/usr/bin/env bash
# Installs what is missing, builds, and runs the tests: house rules, units,
# ranks, programs; then the same under AddressSanitizer and
# UndefinedBehaviorSanitizer.
#
#     launch/test.sh [--full] [--peers] [--large] [--no-sanitizers]
#                    [ctest options ...]
#
# --full runs what that leaves out instead: long storms, 8 and 16 ranks and
# whole scripts under the sanitizers, ThreadSanitizer, and the check that no test
# takes five times its budget (tests/budget.txt). It takes about as long again.
# --peers also compares with Hugging Face transformers, live, in a virtual
# environment that it makes under .venv; without it committed golden numbers
# stand for it. --large also sends messages of more than 2^31 elements, which
# takes 14 GB of memory and a minute.
#
# In the end it prints what took how long. tests/README.md says what runs when.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

full=
peers=
large=
sanitizers=yes
options=()
while [[ $# -gt 0 ]]; do
  case "$1" in
    --full) full=yes ;;
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
source launch/clock.sh
jobs=$(nproc)
times=()

# timed WHAT COMMAND...: runs it and notes its seconds.
timed() {
  local what=$1 code=0 now began
  seconds_now
  began=$now
  shift
  echo "test.sh: $what" >&2
  "$@" || code=$?
  seconds_now
  times+=("$(printf '%6d s  %s' $((now - began)) "$what")")
  return $code
}

configure() { cmake --preset "$1" >/dev/null; }

build() {
  configure "$1"
  cmake --build --preset "$1" -j "$jobs"
}

# run_tests PRESET OPTIONS...: ctest, with three slots for each core
# (tests/CMakeLists.txt says what takes how many).
run_tests() {
  local build=build
  [[ "$1" == release ]] || build=build-$1
  shift
  ctest --test-dir "$build" --output-on-failure --no-tests=ignore \
    --output-junit "results${full:+-full}.xml" -j $((3 * jobs)) "$@" \
    ${options[@]+"${options[@]}"}
}

# Made beside the builds: it mostly waits for the network.
start_venv() {
  python_file=$(mktemp)
  trap 'rm -f "$python_file"' EXIT
  ./launch/venv.sh >"$python_file" &
  venv=$!
}
await_venv() {
  wait "$venv" || return
  MOE_PEERS_PYTHON=$(cat "$python_file")
  export MOE_PEERS_PYTHON
}

# The cheap ones first; every suite runs, whatever the one before it said.
failed=0
timed "packages" ./launch/setup.sh
if [[ -z "$full" ]]; then
  timed "configuration" configure release
  timed "house rules" run_tests release -L house || failed=1
fi
if [[ -n "$peers" ]]; then start_venv; fi
timed "release build" build release
if [[ -n "$sanitizers" ]]; then timed "build with sanitizers" build asan; fi
if [[ -n "$peers" ]]; then
  timed "what the virtual environment took longer" await_venv
fi
if [[ -z "$full" ]]; then
  left_out="house|full"
  if [[ -z "$large" ]]; then left_out="house|full|large"; fi
  timed "release tests" run_tests release -LE "$left_out" || failed=1
  if [[ -n "$sanitizers" ]]; then
    timed "tests with sanitizers" run_tests asan \
      -LE "house|peers|large|storm|full" || failed=1
  fi
else
  timed "long release tests" run_tests release -L full || failed=1
  if [[ -n "$large" ]]; then
    timed "large messages" run_tests release -L large || failed=1
  fi
  if [[ -n "$sanitizers" ]]; then
    timed "long tests with sanitizers" run_tests asan \
      -L full -LE "storm|release" || failed=1
    timed "build with ThreadSanitizer" build tsan || failed=1
    timed "tests with ThreadSanitizer" run_tests tsan -L threads || failed=1
  fi
  timed "budgets" python3 tests/check_budget.py || failed=1
fi

printf '%s\n' "test.sh: seconds on $jobs cores" "${times[@]}" >&2
if [[ $failed -ne 0 ]]; then
  echo "test.sh: failed; the closing lines of ctest above name what" >&2
fi
exit "$failed"
