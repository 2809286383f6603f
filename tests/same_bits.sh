#!/usr/bin/env bash
# That a change of the code changes no bit: two builds train the same ten steps of
# small models in every way that changes what is computed, and their weights,
# moments and metrics must be equal, times and rates aside. The second build
# also goes on from the fifth step of the first.
#
#     same_bits.sh BUILD_BEFORE BUILD_AFTER [NUMBER ...]
#
# For instance, with the commit before in a folder of its own:
#
#     git worktree add /tmp/before HEAD~1 && cd /tmp/before &&
#       cmake --preset release && cmake --build build --target programs
#     tests/same_bits.sh /tmp/before/build build
#
# NUMBER: of these configurations alone. Takes some minutes; no test runs it.
set -u
before=$(cd "$1" && pwd)
after=$(cd "$2" && pwd)
shift 2
chosen=" $* "
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mpirun=$(dirname "${BASH_SOURCE[0]}")/mpirun.sh
failures=0
number=0

fail() {
  echo "FAIL: $what: $*"
  failures=$((failures + 1))
}

base=(model.vocab_size=320 model.hidden_size=64 model.intermediate_size=96
  model.num_hidden_layers=2 model.num_attention_heads=4
  model.num_key_value_heads=4 model.num_local_experts=8
  batch.global_size=16 batch.sequence_length=32 schedule.steps=10
  schedule.warmup_steps=2 optimizer.learning_rate=0.001 eval.interval_steps=5
  log.interval_steps=1 checkpoint.interval_steps=5 run.threads=1
  run.check_memory=false)

# Tokens, so that no rule of text or of validation's share enters.
for part in train valid; do
  awk -v seed=${#part} -v words=$([[ $part == train ]] && echo 6000 || echo 900) \
    'BEGIN { srand(seed + words)
      for (i = 0; i < words; ++i)
        printf "%s%s", substr("abcdefghijklmnop", 1 + 12 * rand(), 1 + 5 * rand()),
          rand() < 0.1 ? "\n" : " " }' >"$work/$part.txt"
done
tokenize() {
  "$before/bin/moe-tokenize" --input "$work/$1.txt" --output "$work/$1" \
    "${@:2}" >"$work/err" 2>&1 || { cat "$work/err"; exit 1; }
}
tokenize train --vocab-size 320
tokenize valid --tokenizer "$work/train.model"
base+=("data.train=$work/train" "data.valid=$work/valid"
  "data.tokenizer=$work/train.model")

# train BUILD RUN RANKS ARGUMENTS...
train() {
  local build=$1 run=$2 ranks=$3
  shift 3
  "$mpirun" "$ranks" "$build/bin/moe-train" "${base[@]}" "$@" \
    run.directory="$run" >"$work/out" 2>"$work/err" </dev/null || {
    fail "$build: exit code $?: $(tail -n 1 "$work/err")"
    return 1
  }
}

# The lines of metrics.jsonl without what a clock or the machine says.
metrics() {
  python3 -c '
import json, re, sys
other = re.compile("second|time|mfu|memory|bytes_peak|share|straggler|growth")
for line in open(sys.argv[1]):
  print({k: v for k, v in json.loads(line).items() if not other.search(k)})' \
    "$1/metrics.jsonl"
}

# equal RUN RUN: their last checkpoints and metrics.
equal() {
  local file other=$2/checkpoints/step_00000010 count=0
  for file in "$1"/checkpoints/step_00000010/*.safetensors; do
    cmp "$file" "$other/$(basename "$file")" || fail "the bytes differ"
    count=$((count + 1))
  done
  ((count >= 2)) || fail "$count files to compare"
  diff <(metrics "$1") <(metrics "$2") >"$work/diff" ||
    fail "the metrics differ: $(head -n 4 "$work/diff")"
}

# same RANKS ARGUMENTS...
same() {
  number=$((number + 1))
  [[ "$chosen" == "  " || "$chosen" == *" $number "* ]] || return
  what="$number: $*"
  rm -rf "$work/before" "$work/after" "$work/on"
  train "$before" "$work/before" "$@" || return
  cp -r "$work/before" "$work/on"
  rm -r "$work/on/checkpoints/step_00000010"
  train "$after" "$work/after" "$@" && equal "$work/before" "$work/after"
  train "$after" "$work/on" "$@" && equal "$work/before" "$work/on"
  echo "$what"
}

bf16=run.compute_dtype=BFLOAT16
for dtype in run.compute_dtype=FLOAT32 $bf16; do
  for ranks in 1 2 4 16; do same $ranks $dtype; done
  same 2 $dtype parallel.tensor=2
  same 4 $dtype parallel.tensor=2 parallel.expert=2
  same 4 $dtype parallel.tensor=4 parallel.expert=4
  same 1 $dtype router.capacity_factor=1
  same 4 $dtype router.capacity_factor=0.75 router.drop_policy=POSITION \
    parallel.tensor=2
  same 1 $dtype run.recompute=EXPERTS run.expert_chunk_rows=64
  same 4 $dtype run.recompute=EXPERTS run.expert_chunk_rows=64
  same 2 $dtype run.recompute=BLOCK
  same 4 $dtype run.recompute=BLOCK parallel.tensor=2
  same 2 $dtype data.reset_attention=true
done
same 3 batch.micro_size=2 parallel.expert=1
same 2 batch.micro_size=4
same 2 $bf16 batch.micro_size=1
same 2 router.aux_loss_scope=MICRO_BATCH
same 2 router.aux_loss_scope=MICRO_BATCH router.aux_loss_semantics=HF_MIXTRAL
same 2 router.z_loss_coefficient=0.001 parallel.tensor=2
same 2 router.renormalize=false
same 2 router.force_balance=true
same 2 model.num_experts_per_tok=1
same 1 model.num_experts_per_tok=4 model.num_key_value_heads=2
same 2 model.tie_word_embeddings=true
same 2 $bf16 model.tie_word_embeddings=true parallel.tensor=2
same 2 data.add_bos=true
same 2 optimizer.learning_rate=1000 optimizer.weight_decay=1000 \
  optimizer.max_skipped_steps=10
same 4 schedule.decay=WSD schedule.cooldown_steps=4 optimizer.clip_norm=0.1

if [[ $failures -gt 0 ]]; then
  echo "$failures failed"
  exit 1
fi
echo "all passed"
