#!/usr/bin/env bash
# moe-generate as a user starts it: text of a model that moe-train has just
# made, and for every way to go wrong one message and the right exit code.
#
#     moe_generate_test.sh BUILD_DIRECTORY
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

generate() {
  "$build/bin/moe-generate" "$@" >"$work/out" 2>"$work/err" </dev/null
}

# expect CODE TEXT ARGUMENTS...: the exit code, and TEXT in the only message.
expect() {
  local code=$1 text=$2 got
  shift 2
  generate "$@"
  got=$?
  [[ $got -eq $code ]] || fail "$*: exit code $got, must be $code"
  [[ $(grep -c '^moe-generate: ' "$work/err") -eq 1 ]] ||
    fail "$*: not one message: $(cat "$work/err")"
  grep -qF -- "$text" "$work/err" || fail "$*: the message lacks '$text'"
}

awk 'BEGIN {
  for (i = 0; i < 3000; ++i)
    print "the " i * 7919 % 1000 " cats and " i * 31 % 100 " dogs run"
}' >"$work/text.txt"
run=$work/run
if ! "$here/../mpirun.sh" 2 "$build/bin/moe-train" --preset=quickstart \
  model.vocab_size=300 model.hidden_size=32 model.intermediate_size=32 \
  model.num_hidden_layers=2 model.num_attention_heads=4 \
  model.num_key_value_heads=2 model.num_local_experts=4 batch.global_size=8 \
  batch.sequence_length=32 schedule.steps=5 schedule.warmup_steps=1 \
  eval.interval_steps=0 run.directory="$run" data.train="$work/text.txt" \
  >"$work/train" 2>&1 </dev/null; then
  cat "$work/train"
  echo "FAIL: moe-train made no checkpoint"
  exit 1
fi

# --- text -------------------------------------------------------------------
# By the run, its checkpoints or one of them: the same text, prompt first.
for directory in "$run" "$run/checkpoints" "$run/checkpoints/step_00000005"; do
  generate --checkpoint="$directory" --prompt="the cats" --max-tokens=20 ||
    fail "$directory: exit code $?: $(cat "$work/err")"
  [[ $(head -c 8 "$work/out") == "the cats" ]] || fail "the prompt is missing"
  [[ -s $work/err ]] && fail "a word without need: $(cat "$work/err")"
  md5sum <"$work/out" >>"$work/sums"
done
[[ $(sort -u "$work/sums" | wc -l) -eq 1 ]] || fail "not the same text"

# Ranks that are not needed say nothing.
"$here/../mpirun.sh" 2 "$build/bin/moe-generate" --checkpoint="$run" \
  --prompt="the cats" --max-tokens=20 >"$work/out" 2>"$work/err" </dev/null ||
  fail "under mpirun: exit code $?"
md5sum <"$work/out" >>"$work/sums"
[[ $(sort -u "$work/sums" | wc -l) -eq 1 ]] || fail "another text under mpirun"

# A chat template has no say, and need not be one that can be read.
truncate -s 1G "$run/checkpoints/step_00000005/chat_template.jinja"
generate --checkpoint="$run" --prompt="the cats" --max-tokens=20 ||
  fail "a template that cannot be read: exit code $?: $(cat "$work/err")"
md5sum <"$work/out" >>"$work/sums"
[[ $(sort -u "$work/sums" | wc -l) -eq 1 ]] || fail "another text by a template"
rm "$run/checkpoints/step_00000005/chat_template.jinja"

# Greedy text of so young a model is one word again and again, and has no end.
generate --checkpoint="$run" --max-tokens=999 --temperature=0 ||
  fail "at the last position: exit code $?"
grep -qF 'stopped at max_position_embeddings (32)' "$work/err" ||
  fail "nothing said at the last position"

# --- everything that can be wrong -------------------------------------------
expect 64 "--checkpoint=DIRECTORY is missing"
expect 64 "--top-k" --checkpoint="$run" --topk=3
expect 64 "--top-p is 2" --checkpoint="$run" --top-p=2
expect 64 "--temperature is -1" --checkpoint="$run" --temperature=-1
expect 64 "--max-tokens is 0, must be" --checkpoint="$run" --max-tokens=0
expect 64 "--seed is -1, must be" --checkpoint="$run" --seed=-1
expect 64 "--prompt is 'caf\xE9', must be UTF-8" --checkpoint="$run" \
  --prompt=$'caf\xe9'
expect 64 "--top-p is 2" --checkpoint="$work/nowhere" --top-p=2
expect 64 "max_position_embeddings (32)" --checkpoint="$run" \
  --prompt="$(head -c 400 "$work/text.txt")"
expect 65 "$work/nowhere" --checkpoint="$work/nowhere"
mkdir "$work/empty"
expect 65 "holds no checkpoint" --checkpoint="$work/empty"
step=$run/checkpoints/step_00000005
for file in tokenizer.model model.safetensors.index.json; do
  mv "$step/$file" "$work/aside"
  expect 65 "$step" --checkpoint="$run"
  mv "$work/aside" "$step/$file"
done
weights=$(ls "$step"/model-00001-of-*.safetensors)
cp "$weights" "$work/aside"
printf '\x01' | dd of="$weights" bs=1 seek=$(($(stat -c %s "$weights") - 1)) \
  conv=notrunc status=none
expect 65 "${weights##*/} is damaged" --checkpoint="$run"
[[ ! -s $work/out ]] || fail "text of damaged weights: $(cat "$work/out")"
mv "$work/aside" "$weights"
truncate -s -1 "$weights"
expect 65 "bytes, must have" --checkpoint="$run"

[[ $failures -eq 0 ]] || exit 1
echo "all of moe-generate is well"
