#!/usr/bin/env bash
# moe-bench as a user starts it: every part on a small model gives results that
# have all that they should and contradict themselves nowhere; for every way to
# go wrong one message and the right exit code. Nothing is held to be fast.
#
#     moe_bench_test.sh BUILD_DIRECTORY
set -u
build=$(cd "$1" && pwd)
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

fail() {
  echo "FAIL: $*"
  failures=$((failures + 1))
}

model=(--preset=quickstart --seconds=0.001 --array-mib=1 --json
  model.vocab_size=300 model.hidden_size=64 model.intermediate_size=32
  model.num_hidden_layers=2 model.num_attention_heads=4
  model.num_key_value_heads=2 model.num_local_experts=8
  model.num_experts_per_tok=2 batch.global_size=4 batch.micro_size=2
  batch.sequence_length=32 run.threads=1)
all=(matmul experts attention optimizer memory step skew)

# check RANKS PART...: of what was printed last.
check() {
  python3 "$here/check_bench.py" "$@" <"$work/out" || fail "$*"
}

for dtype in FLOAT32 BFLOAT16; do
  "$build/bin/moe-bench" "${model[@]}" run.compute_dtype=$dtype \
    >"$work/out" 2>"$work/err" || fail "$dtype: exit code $?"
  [[ ! -s "$work/err" ]] || fail "said $(cat "$work/err")"
  check 1 "${all[@]}"
  "$here/../mpirun.sh" 2 "$build/bin/moe-bench" "${model[@]}" --part=step \
    --part=skew run.compute_dtype=$dtype >"$work/out" || fail "2 ranks: $?"
  check 2 step skew
  "$here/../mpirun.sh" 2 "$build/bin/moe-bench" "${model[@]}" --part=step \
    router.force_balance=true run.compute_dtype=$dtype >"$work/out" ||
    fail "2 ranks, balanced: $?"
  check 2 step --forced-balance
done

# Threads, and rows that no expert gets half of, or all.
"$build/bin/moe-bench" "${model[@]}" --part=memory --part=experts \
  run.threads=2 >"$work/out" || fail "2 threads: $?"
check 1 memory experts
for top_k in 1 4; do
  "$build/bin/moe-bench" "${model[@]}" --part=skew \
    model.num_experts_per_tok=$top_k >"$work/out" || fail "top-$top_k: $?"
  share=$([[ $top_k -eq 1 ]] && echo '"largest_expert_share":0.[45]' ||
    echo '"largest_expert_share":0.25')
  grep -q "$share" "$work/out" || fail "top-$top_k: $(cat "$work/out")"
done

# For people: a line a result, and what there is to say of it below.
"$build/bin/moe-bench" "${model[@]/--json/--part=step}" >"$work/out" ||
  fail "for people: $?"
grep -qE '^step +training step .* tokens/s$' "$work/out" || fail "no tokens/s"
grep -qE '^ +peak memory .* router, dispatch and combine' "$work/out" ||
  fail "no word of memory: $(cat "$work/out")"
grep -qE '^ +.*experts [0-9.]+ %, ' "$work/out" || fail "no shares"

# refuses CODE TEXT ARGUMENTS...: one message with TEXT, nothing else.
refuses() {
  local code=$1 text=$2 got
  shift 2
  "$build/bin/moe-bench" "$@" >"$work/out" 2>"$work/err"
  got=$?
  [[ $got -eq $code ]] || fail "$*: exit code $got, must be $code"
  [[ ! -s "$work/out" ]] || fail "$*: prints to standard output"
  [[ $(grep -c '^moe-bench: ' "$work/err") -eq 1 ]] || fail "$*: not one message"
  grep -qF -- "$text" "$work/err" || fail "$*: the message lacks '$text'"
}
refuses 64 "must be one of matmul, experts" --part=expert
refuses 64 "--array-mib is -3" --array-mib=-3
refuses 69 "--array-mib asks for smaller ones" --part=memory \
  --array-mib=1000000

[[ $failures -eq 0 ]] || exit 1
echo "all of moe-bench is well"
