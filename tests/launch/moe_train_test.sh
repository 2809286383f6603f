#!/usr/bin/env bash
# Whole runs of moe-train as a user starts them: what it leaves behind, and for
# every way to go wrong one message from one rank and the right exit code.
#
#     moe_train_test.sh BUILD_DIRECTORY RANKS [one]
#
# With `one` a run that goes well, and no more.
set -u
build=$(cd "$1" && pwd)
ranks=$2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/finish.sh"
work=$(mktemp -d)
cleanup() {
  local mounted
  for mounted in small readonly; do
    mountpoint -q "$work/$mounted" 2>/dev/null && umount "$work/$mounted"
  done
  rm -rf "$work"
}
trap cleanup EXIT
failures=0
number=0
as=()  # what starts a run as another user

fail() {
  echo "FAIL: $*"
  failures=$((failures + 1))
}

# A model that trains in a second, in a run directory of its own: $run.
train() {
  number=$((number + 1))
  run=$work/run$number
  ${as[@]+"${as[@]}"} "$here/../mpirun.sh" "$ranks" "$build/bin/moe-train" --preset=quickstart \
    model.vocab_size=300 model.hidden_size=32 model.intermediate_size=32 \
    model.num_hidden_layers=2 model.num_attention_heads=4 \
    model.num_key_value_heads=2 model.num_local_experts=4 \
    model.initializer_range=0.02 batch.global_size=8 batch.sequence_length=32 \
    schedule.steps=5 schedule.warmup_steps=1 eval.interval_steps=0 \
    log.interval_steps=1 \
    run.directory="$run" data.train="$work/text.txt" "$@" \
    >"$work/out" 2>"$work/err" </dev/null
}

# expect CODE TEXT ARGUMENTS...: the exit code, TEXT in the one line that says
# moe-train:, and no word from the launcher.
expect() {
  local code=$1 text=$2 got lines
  shift 2
  train "$@"
  got=$?
  [[ $got -eq $code ]] || fail "$*: exit code $got, must be $code"
  lines=$(grep -c '^moe-train: ' "$work/err")
  [[ $lines -eq 1 ]] || fail "$*: $lines messages, must be 1"
  grep -qF -- "$text" "$work/err" || fail "$*: the message lacks '$text'"
  if grep -qE 'MPI_ABORT|mpirun|PRTE|ORTE|exit code' "$work/err"; then
    fail "$*: the launcher speaks"
  fi
  if [[ $got -ne $code || $lines -ne 1 ]]; then tail -5 "$work/err"; fi
}

awk 'BEGIN {
  for (i = 0; i < 3000; ++i)
    print "the " i * 7919 % 1000 " cats and " i * 31 % 100 " dogs run"
}' >"$work/text.txt"

# --- a run that goes well ---------------------------------------------------
train eval.interval_steps=2 checkpoint.interval_steps=4 || fail "a plain run: exit code $?"
[[ $(wc -l <"$run/metrics.jsonl") -eq 5 ]] || fail "metrics.jsonl: not 5 lines"
[[ $(grep -c valid_loss "$run/metrics.jsonl") -eq 3 ]] ||
  fail "valid_loss: not after steps 2, 4 and the last"
for file in config.json generation_config.json tokenizer.model tokenizer.json; do
  [[ -s "$run/checkpoints/step_00000005/$file" ]] || fail "no $file"
done
compgen -G "$run/checkpoints/step_00000005/model*.safetensors" >/dev/null ||
  fail "no weights"
[[ -s "$run/config.textproto" ]] || fail "no config.textproto"
[[ $(ls "$run/checkpoints" | xargs) == "step_00000004 step_00000005" ]] ||
  fail "something else stays: $(ls "$run/checkpoints" | xargs)"

if [[ ${3-} == one ]]; then finish; fi

# --- going on ---------------------------------------------------------------
used=$run
train run.directory="$used" || fail "nothing to train: exit code $?"
[[ $(tail -2 "$work/err") == "nothing to train: step 5 of 5 is done
the state is in $used/checkpoints/step_00000005" ]] ||
  fail "nothing to train: $(cat "$work/err")"
expect 64 ", and --resume is none" run.directory="$used" \
  --resume=none
expect 64 "run.seed is 9, was" run.directory="$used" run.seed=9
expect 64 "batch.sequence_length is 16, was" run.directory="$used" \
  batch.sequence_length=16
expect 64 "model.num_hidden_layers is" run.directory="$used" \
  model.num_hidden_layers=3
train run.directory="$used" --dry-run && ! grep -F 'Note: ' "$work/out" ||
  fail "a note that a dry run would be refused, which is not so"
expect 64 "the configuration is not that of " run.directory="$used" run.seed=9 \
  --dry-run
grep -q '^Memory of the largest rank' "$work/out" ||
  fail "a dry run that would be refused prints no sizes"
expect 65 "$work/missing.txt" data.train="$work/missing.txt" --dry-run
# What nobody types now, and may have given way when the run began, stays.
config=$("$build/bin/moe-train" run.directory="$used" schedule.steps=600 \
  --print-config 2>"$work/err") || fail "--print-config: $(cat "$work/err")"
for line in "warmup_steps: 1" "vocab_size: 300"; do
  [[ "$config" == *"$line"* ]] || fail "going on: no '$line'"
done
[[ ! -s "$work/err" ]] || fail "--print-config says $(cat "$work/err")"
expect 65 "holds no complete checkpoint" --resume="$work/nowhere"
mkdir "$work/hollow"
expect 65 "holds no complete checkpoint" --resume="$work/hollow"
expect 65 "no such directory" --init-from="$work/nowhere"
expect 65 "--init-from" --init-from="$work/hollow"
cp -r "$used/checkpoints/step_00000005" "$work/flipped"
flipped=$(ls "$work"/flipped/model-00001-of-*)
printf '\x01' | dd of="$flipped" bs=1 seek=$(($(stat -c %s "$flipped") - 1)) \
  conv=notrunc status=none
expect 65 "--init-from: $flipped is damaged" --init-from="$work/flipped"

# Where nothing is whole the run does not begin anew, however often it is asked.
cp -r "$used" "$work/damaged"
truncate -s 1000 "$work"/damaged/checkpoints/step_*/model*
expect 65 "none that is whole" run.directory="$work/damaged"
[[ $(grep -c '^passing over ' "$work/err") -eq 2 ]] ||
  fail "damaged checkpoints: not two are named: $(cat "$work/err")"
expect 65 "none that is whole" run.directory="$work/damaged"
cmp -s "$used/metrics.jsonl" "$work/damaged/metrics.jsonl" ||
  fail "damaged checkpoints: the metrics have changed"
rm -r "$work"/damaged/checkpoints/*
train run.directory="$work/damaged" || fail "begun anew: exit code $?"

# --- data -------------------------------------------------------------------
: >"$work/empty.txt"
head -c 20000 /dev/urandom >"$work/binary.txt"
head -3 "$work/text.txt" >"$work/short.txt"
{
  for i in 1 2 3; do echo "{\"text\": \"line $i\"}"; done
  echo '{"text": "broken'
} >"$work/broken.jsonl"
echo '{"content": "x"}' >"$work/no_text.jsonl"
for file in missing empty; do
  expect 65 "$work/$file.txt" data.train="$work/$file.txt"
  [[ ! -e "$run" ]] || fail "$file.txt: a run directory stays"
done
expect 65 "$work/binary.txt" data.train="$work/binary.txt"
expect 64 "$work is neither .txt nor .jsonl" data.train="$work"
expect 65 "broken.jsonl:4: " data.train="$work/broken.jsonl"
expect 65 "no_text.jsonl:1: " data.train="$work/no_text.jsonl"
expect 65 "batch.global_size is 4000" batch.global_size=4000
expect 64 "model.vocab_size is 9000, must be at most" model.vocab_size=9000
echo "no model" >"$work/none.model"
expect 65 "none.model" data.tokenizer="$work/none.model"
spm_train --input="$work/text.txt" --model_prefix="$work/unigram" \
  --model_type=unigram --vocab_size=60 >/dev/null 2>&1
expect 65 "unigram" data.tokenizer="$work/unigram.model"

# Tokens of a vocabulary larger than the model's.
"$build/bin/moe-tokenize" --input "$work/text.txt" --output "$work/tokens" \
  --vocab-size 310 >/dev/null 2>&1 || fail "moe-tokenize: exit code $?"
expect 65 "vocab_size (300)" data.train="$work/tokens"
# Its index, cut.
head -c 40 "$work/tokens.idx" >"$work/cut.idx"
cp "$work/tokens.bin" "$work/cut.bin"
expect 65 "cut.idx" data.train="$work/cut"

# --- configuration and layout -----------------------------------------------
expect 64 "model.hidden_size" model.hiden_size=32
expect 64 "parallel.expert" parallel.expert=3
expect 64 "schedule.steps" schedule.steps=many

# --- the disk ---------------------------------------------------------------
touch "$work/file"
expect 74 "$work/file" run.directory="$work/file/run"
mkdir "$work/small"
if mount -t tmpfs -o size=1m tmpfs "$work/small" 2>/dev/null; then
  # Room for the caches and the metrics, not for the weights.
  expect 74 "No space left on device" run.directory="$work/small/run" \
    model.intermediate_size=1024
  if compgen -G "$work/small/run/checkpoints/*" >/dev/null; then
    fail "a full disk: $(ls "$work/small/run/checkpoints") stays"
  fi
else
  echo "SKIPPED: a full disk, because mounting a tmpfs is not allowed here"
fi

# A whole checkpoint and one that is cut, where nothing can be written.
mkdir "$work/readonly"
if mount -t tmpfs -o size=16m tmpfs "$work/readonly" 2>/dev/null; then
  cp -r "$used" "$work/readonly/run"
  rm -r "$work/readonly/run/data"
  cp -r "$work/readonly/run" "$work/readonly/cut"
  truncate -s 1000 "$work"/readonly/cut/checkpoints/step_00000005/model*
  mount -o remount,ro "$work/readonly"
  expect 74 "Read-only file system" run.directory="$work/readonly/run"
  expect 74 "Read-only file system" run.directory="$work/readonly/new"
  train --resume="$work/readonly/run" schedule.steps=6 ||
    fail "going on from a disk that is only read: exit code $?"
  grep -qF "going on from $work/readonly/run/checkpoints/step_00000005" \
    "$work/err" || fail "a disk that is only read: $(cat "$work/err")"
  train --resume="$work/readonly/cut" schedule.steps=6 ||
    fail "passing over what is cut on a disk that is only read: exit code $?"
  grep -qF "going on from $work/readonly/cut/checkpoints/step_00000004" \
    "$work/err" || fail "a cut checkpoint: $(cat "$work/err")"
  train --init-from="$work/readonly/run" ||
    fail "weights of a disk that is only read: exit code $?"
else
  echo "SKIPPED: a read-only disk, because mounting a tmpfs is not allowed here"
fi

# --- another user's files ---------------------------------------------------
# To root everything is allowed, so that another user has to try.
nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
chmod 755 "$work"
if "${nobody[@]}" "$build/bin/moe-train" --version >/dev/null 2>&1; then
  as=("${nobody[@]}")
  mkdir "$work/locked"
  expect 74 "Permission denied" run.directory="$work/locked/run"
  mkdir -m 777 "$work/theirs"
  # Whatever is hidden, nothing older is taken instead.
  for hidden in "$used" "$used/checkpoints" \
    "$used/checkpoints/step_00000005" \
    "$used"/checkpoints/step_00000005/model-00001*; do
    mode=$(stat -c %a "$hidden")
    chmod 600 "$hidden"
    expect 65 "Permission denied" run.directory="$work/theirs/run$number" \
      --resume="$used"
    expect 65 "Permission denied" run.directory="$work/theirs/run$number" \
      --init-from="$used"
    chmod "$mode" "$hidden"
  done
  # In the run's own directory it is not taken for damaged.
  cp -r "$used" "$work/theirs/own"
  chown -R 65534 "$work/theirs/own"
  chmod 000 "$work"/theirs/own/checkpoints/step_00000005/model*
  expect 65 "Permission denied" run.directory="$work/theirs/own"
  [[ -d "$work/theirs/own/checkpoints/step_00000005" ]] ||
    fail "what cannot be read was set aside"
  as=()
else
  echo "SKIPPED: another user's files, because only root may change users"
fi

# --- memory -----------------------------------------------------------------
# Refused before anything is made, however the machine would take it.
expect 69 "run.check_memory=false" model.hidden_size=16384 \
  model.intermediate_size=65536 model.num_hidden_layers=100 \
  model.num_local_experts=64
[[ ! -e "$run" ]] || fail "a run that needs too much memory was begun"

# --- ends -------------------------------------------------------------------
diverges=(optimizer.learning_rate=1000 optimizer.weight_decay=1000
  schedule.steps=50)
expect 76 "is not finite: the first such value, " "${diverges[@]}"
for file in report.txt report.json batch.safetensors; do
  [[ -s "$run/failure/$file" ]] || fail "after a loss not finite: no $file"
done
compgen -G "$run/failure/step_*/model*.safetensors" >/dev/null ||
  fail "after a loss not finite: no weights"
# As the README says to compute it again.
"$here/../mpirun.sh" "$ranks" "$build/bin/moe-train" \
  --config="$run/config.textproto" run.directory="$work/again" \
  --resume="$(compgen -G "$run/failure/step_*")" 2>"$work/err" </dev/null
code=$?
[[ $code -eq 76 ]] || fail "computed again: exit code $code, must be 76"
cmp "$run/failure/report.json" "$work/again/failure/report.json" ||
  fail "computed again, a failure has another report"
expect 76 "; steps skipped before: 2, optimizer.max_skipped_steps is 2; " \
  "${diverges[@]}" optimizer.max_skipped_steps=2
for number_skipped in 1 2; do
  grep -q "is not finite: .*; skipped ($number_skipped of at most 2)$" \
    "$work/err" || fail "skipped step $number_skipped: not a word"
  grep -q "\"loss\":null,.*\"skipped_steps\":$number_skipped," \
    "$run/metrics.jsonl" || fail "skipped step $number_skipped: no metrics"
done
expect 75 "stopped as asked after step" schedule.steps=100000 \
  schedule.stop_after_seconds=1
compgen -G "$run/checkpoints/step_*/model*.safetensors" >/dev/null ||
  fail "stopped as asked: no weights"

finish
