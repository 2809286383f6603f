#!/usr/bin/env bash
# compare-with-transformers.sh on models that are done at once. Rows that need
# transformers run with `peers` only, where MOE_PEERS_PYTHON has it.
#
#     compare_test.sh BUILD_DIRECTORY [peers]
set -u
build=$(cd "$1" && pwd)
what=${2-}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0
# Open MPI unloads plugins whose leaks no list can name.
export ASAN_OPTIONS=detect_leaks=0${ASAN_OPTIONS:+:$ASAN_OPTIONS}

fail() {
  echo "FAIL: $*"
  sed 's/^/  | /' "$work/err" | tail -5
  failures=$((failures + 1))
}

compare() {
  "$here/../../launch/compare-with-transformers.sh" --build="$build" --tiny \
    --rounds=1 "$@" >"$work/out" 2>"$work/err" </dev/null
}

# has EXPRESSION: true of `lines`, what --json printed.
has() {
  python3 -c 'import json, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
sys.exit(0 if eval(f"({sys.argv[2]})") else 1)' "$work/out" "$1" ||
    fail "not so: $1: $(cat "$work/out")"
}

if [[ "$what" == peers ]]; then
  if [[ -z "${MOE_PEERS_PYTHON-}" ]]; then
    echo "ALL TESTS SKIPPED: MOE_PEERS_PYTHON is not set"
    exit 0
  fi
  compare --rows=e64-bf16,ranks-f32 --json || fail "exit code $?"
  has '{l["row"] for l in lines} == {"e64-bf16", "ranks-f32"}'
  has 'all(l["ratio"] > 0 for l in lines)'
  has '{l["peer"] for l in lines if l["row"] == "e64-bf16"} >= {"eager",
    "grouped_mm", "grouped_mm, compiled", "grouped_mm, bfloat16 weights"}'
  has 'sorted(l["must"] for l in lines if "must" in l) ==
    [0.15, 1.05, 1.2, 1.7, 8]'
  has 'all(abs(l["ours"] / l["theirs"] / l["ratio"] - 1) < 1e-6
    for l in lines if l["ours"])'
  [[ $failures -eq 0 ]] || exit 1
  echo "transformers was compared with"
  exit 0
fi

# A python is all that the rest needs.
export MOE_PEERS_PYTHON=python3
compare --rows='jobs-*,threads-bf16,skew-f32' --json || fail "exit code $?"
has '[l["row"] for l in lines] ==
  ["jobs-f32", "jobs-bf16", "threads-bf16", "skew-f32"]'
has 'all(l["ratio"] > 0 for l in lines)'
has 'lines[0]["ratio"] == lines[0]["ours"] / lines[0]["theirs"]'
has '[l["must"] for l in lines] == [0.93, 0.93, 0.9, 1.05]'
compare --rows=experts-e64-bf16,memory-bf16 || fail "exit code $?"
[[ $(grep -c '^| experts-e64-bf16 ' "$work/out") -eq 12 ]] || fail "no 12 lines"
[[ $(grep -c '^| memory-bf16 .*>= ' "$work/out") -eq 7 ]] || fail "no 7 limits"

compare --list-rows || fail "exit code $?"
[[ $(wc -l <"$work/out") -eq 18 ]] || fail "not 18 rows"
compare --rows=e9-f32
[[ $? -eq 64 ]] || fail "e9 is a row"
grep -q "no row 'e9-f32'; there are e8-f32, " "$work/err" || fail "no such word"
compare --raunds=3
[[ $? -eq 64 ]] || fail "a wrong flag is taken"
"$here/../../launch/compare-with-transformers.sh" --help | grep -q -- --quick ||
  fail "no help"

# Two builds, with no transformers; here one with itself.
compare --against="$build" --rows=e64-bf16,ranks-f32 --json ||
  fail "exit code $?"
has '[(l["row"], l["peer"], l["must"]) for l in lines] == [
  ("e64-bf16", "the other build", 0.99), ("ranks-f32", "the other build", 0.99)]'
has 'all(l["ratio"] == l["ours"] / l["theirs"] for l in lines)'
compare --against="$build" --list-rows || fail "exit code $?"
[[ $(wc -l <"$work/out") -eq 6 ]] || fail "not 6 rows"
compare --against="$work/none"
[[ $? -eq 64 ]] || fail "a directory that is not there is taken"

# Without transformers, its rows say so.
compare --rows=e8-f32
[[ $? -eq 70 ]] || fail "a peer that does not start is let pass"
grep -q "mixtral_speed.py ended with code" "$work/err" || fail "no such word"

[[ $failures -eq 0 ]] || exit 1
echo "all passed"
