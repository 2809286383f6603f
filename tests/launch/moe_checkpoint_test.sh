#!/usr/bin/env bash
# moe-checkpoint as a user starts it, on runs that moe-train has just made with
# 4 ranks, with tensor groups of 2, and with 1 rank; damage planted; and for
# every way to go wrong one message and the right exit code.
#
#     moe_checkpoint_test.sh BUILD_DIRECTORY
set -u
build=$(cd "$1" && pwd)
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failures=0

fail() {
  echo "FAIL: $*"
  failures=$((failures + 1))
}

checkpoint() {
  "$build/bin/moe-checkpoint" "$@" >out 2>err </dev/null
}

# says CODE TEXT ARGUMENTS...: the exit code, TEXT on standard output, and
# nothing else said.
says() {
  local code=$1 text=$2 got
  shift 2
  checkpoint "$@"
  got=$?
  [[ $got -eq $code ]] || fail "$*: exit code $got, must be $code: $(cat err)"
  [[ ! -s err ]] || fail "$*: a word without need: $(cat err)"
  grep -qF -- "$text" out || fail "$*: the output lacks '$text': $(cat out)"
}

# refuses CODE TEXT ARGUMENTS...: the exit code, and TEXT in the only message.
refuses() {
  local code=$1 text=$2 got
  shift 2
  checkpoint "$@"
  got=$?
  [[ $got -eq $code ]] || fail "$*: exit code $got, must be $code"
  [[ $(wc -l <err) -eq 1 ]] && grep -q '^moe-checkpoint: ' err ||
    fail "$*: not one message: $(cat err)"
  grep -qF -- "$text" err || fail "$*: the message lacks '$text': $(cat err)"
}

awk 'BEGIN {
  for (i = 0; i < 3000; ++i)
    print "the " i * 7919 % 1000 " cats and " i * 31 % 100 " dogs run"
}' >text.txt
# train RUN RANKS ARGUMENTS...
train() {
  local run=$1 ranks=$2
  shift 2
  if ! "$here/../mpirun.sh" "$ranks" "$build/bin/moe-train" \
    --preset=quickstart model.vocab_size=300 model.hidden_size=32 \
    model.intermediate_size=32 model.num_hidden_layers=2 \
    model.num_attention_heads=4 model.num_key_value_heads=2 \
    model.num_local_experts=4 batch.global_size=8 batch.sequence_length=32 \
    schedule.steps=4 schedule.warmup_steps=1 optimizer.learning_rate=3e-4 \
    eval.interval_steps=2 checkpoint.interval_steps=2 checkpoint.keep=3 \
    data.train=text.txt run.directory="$run" "$@" >train 2>&1 </dev/null; then
    cat train
    echo "FAIL: moe-train made no $run"
    exit 1
  fi
}
train four 4
train tensor 4 parallel.tensor=2
train one 1
step=four/checkpoints/step_00000004

# --- list and inspect -------------------------------------------------------
says 0 "4 ranks (tensor 1, expert 4)  complete" list four
[[ $(wc -l <out) -eq 3 ]] || fail "not a heading and two steps: $(cat out)"
says 0 "4 ranks (tensor 2, expert 4)  complete" list tensor/checkpoints
says 0 '"step":2,"state":"complete","problems":[]' list four --json
grep -q '"tokens":1024,"valid_loss":[0-9.]*,"ranks":4' out ||
  fail "list --json: $(cat out)"
says 0 "step 4, 32 samples, 1,024 tokens, valid loss" inspect four
grep -qF "optimizer state: present" out || fail "inspect: no optimizer state"
grep -q '^ *8  model.layers.\*.block_sparse_moe.experts.\*.w1.weight  \[32, 32\]  *F32' \
  out || fail "inspect: no experts: $(cat out)"
says 0 "model.layers.1.block_sparse_moe.experts.3.w2.weight" \
  inspect "$step" --tensors
says 0 '"tensor":"model.norm.weight","count":1,"shape":[32],"dtype":"F32"' \
  inspect "$step" --tensors --json
[[ $(wc -l <out) -eq 42 ]] || fail "inspect --json: not 42 lines"

# --- verify -----------------------------------------------------------------
says 0 "$step: whole: 16 files" verify four
says 0 '"whole":true' verify "$step" tensor one --json --threads=1
[[ $(grep -c '"whole":true' out) -eq 3 ]] || fail "verify: not three: $(cat out)"

# --- diff -------------------------------------------------------------------
says 0 "all 123 tensors are equal to the bit" diff four "$step" --optimizer
for other in tensor one; do
  says 1 " of 123 tensors differ" diff four "$other" --optimizer
  says 1 '"equal":false,"kind":"elements"' diff four "$other" --json
  # The promise of layouts: weights to 1e-4, norm over norm.
  sed -E 's/.*"relative":([^}]*)}/\1/' out | awk '$1 > 1e-4 || $1 == "null" {
    bad = 1 } END { exit bad }' || fail "four and $other differ: $(cat out)"
done
says 1 "lm_head.weight" diff four/checkpoints/step_00000002 four

# --- export -----------------------------------------------------------------
says 0 "bf16: 41 tensors of $step in bfloat16" export four --output=bf16
says 1 "type F32 against BF16" diff four bf16
says 0 "in 3 files" export four --output=fp16 --dtype=float16 \
  --max-shard-size=50KB
says 0 "no manifest" verify bf16 fp16
says 0 "float32" export four --output=fp32 --dtype=float32
says 0 "all 41 tensors are equal to the bit" diff four fp32
for made in bf16 fp16 fp32; do
  [[ $(grep -c "\"\(torch_\)\?dtype\": \"$(sed 's/bf/bfloat/;s/fp/float/' \
    <<<"$made")\"" "$made/config.json") -eq 2 ]] || fail "$made: its dtype"
  "$build/bin/moe-generate" --checkpoint=$made --prompt="the cats" \
    --temperature=0 --max-tokens=8 >"$made.txt" 2>err </dev/null ||
    fail "moe-generate does not read $made: $(cat err)"
done
"$build/bin/moe-generate" --checkpoint=four --prompt="the cats" \
  --temperature=0 --max-tokens=8 >four.txt 2>err </dev/null
cmp four.txt fp32.txt || fail "another text from the exported weights"
refuses 64 "--output is bf16, which exists" export four --output=bf16
compgen -G '*.tmp' >/dev/null && fail "an export leaves $(echo *.tmp)"
refuses 74 "text.txt/none" export four --output=text.txt/none

# One rank does the work under a launcher.
"$here/../mpirun.sh" 2 "$build/bin/moe-checkpoint" list four >out 2>err \
  </dev/null || fail "under mpirun: exit code $?"
[[ $(wc -l <out) -eq 3 ]] || fail "under mpirun not one rank speaks: $(cat out)"

# --- damage -----------------------------------------------------------------
# damage NAME COMMAND...: a copy of the step as NAME/checkpoints/..., in which
# the command is run.
damage() {
  local name=$1
  shift
  mkdir -p "$name/checkpoints"
  cp -r "$step" "$name/checkpoints/"
  (cd "$name/checkpoints/step_00000004" && "$@")
}
flip() {  # the last byte of a file
  printf '\x01' | dd of="$1" bs=1 seek=$(($(stat -c %s "$1") - 1)) \
    conv=notrunc status=none
}
damage flipped flip model-00002-of-00004.safetensors
refuses 65 "model-00002-of-00004.safetensors is damaged" verify flipped
grep -qF "step_00000004: damaged" out || fail "verify: no report: $(cat out)"
refuses 65 "1 of 2 checkpoints is damaged" verify four flipped
refuses 65 "model-00002-of-00004.safetensors" export flipped --output=never
refuses 65 "model-00002-of-00004.safetensors is damaged" inspect flipped
refuses 65 "model-00002-of-00004.safetensors is damaged" diff four flipped
[[ ! -e never && ! -e never.tmp ]] || fail "damaged weights were exported"
says 0 "complete" list flipped  # sizes tell nothing of it

damage cut truncate -s -4 optimizer-00003-of-00004.safetensors
refuses 65 "optimizer-00003-of-00004.safetensors has" verify cut
says 0 "faulty: optimizer-00003-of-00004.safetensors has" list cut
refuses 65 "optimizer-00003-of-00004.safetensors has" inspect cut
refuses 65 "optimizer-00003-of-00004.safetensors has" diff four cut

damage moments flip optimizer-00003-of-00004.safetensors
says 0 "are equal to the bit" diff four moments  # which reads no moments
refuses 65 "optimizer-00003-of-00004.safetensors is damaged" \
  diff moments four --optimizer

damage half rm tokenizer.model model-00001-of-00004.safetensors
refuses 65 "model-00001-of-00004.safetensors is missing, and 1 more" \
  verify half
grep -q "tokenizer.model is missing" out || fail "verify: half: $(cat out)"
says 0 "is missing, and 1 more" list half
damage unlisted rm manifest.textproto
refuses 65 "manifest.textproto is missing" verify unlisted
says 0 "faulty: manifest.textproto is missing" list unlisted
damage garbage cp tokenizer.model manifest.textproto
refuses 65 "manifest.textproto is damaged" verify garbage
says 0 "faulty: manifest.textproto is damaged" list garbage
refuses 65 "manifest.textproto is damaged" diff garbage four

mv flipped/checkpoints/step_00000004{,.damaged}
says 0 "  damaged" list flipped
mv half/checkpoints/step_00000004{,.tmp}
says 0 "  unfinished" list half

# --- everything else that can be wrong --------------------------------------
mkdir empty
refuses 64 "did you mean verify?" verfy four
refuses 64 "a command is missing"
refuses 64 "diff takes A B, has 1 path" diff four
refuses 64 "--tensors is no flag of diff" diff four one --tensors
for command in list inspect verify; do
  refuses 65 "nowhere: no such directory" $command nowhere
  refuses 65 "text.txt is no directory" $command text.txt
  refuses 65 "empty holds no checkpoint" $command empty
done
refuses 65 "nowhere: no such directory" diff four nowhere
refuses 65 "nowhere: no such directory" export nowhere --output=never
refuses 65 "bf16 holds no optimizer state" diff four bf16 --optimizer
refuses 65 "1 of 2 checkpoints is not there: nowhere: no such directory" \
  verify four nowhere
grep -qF "nowhere: not there" out || fail "verify: nowhere: $(cat out)"
cp -r bf16 quantized
sed -i '1s/{/{"quantization_config": {"bits": 4},/' quantized/config.json
refuses 65 "quantized is of a kind that is not read: config.json: quantization_config" \
  verify quantized
says 0 "diff: the checkpoints differ" --help
says 0 "moe-checkpoint 0." --version
if [[ -c /dev/full ]]; then
  "$build/bin/moe-checkpoint" list four >/dev/full 2>err
  [[ $? -eq 74 ]] || fail "text that nobody gets is no success"
fi

[[ $failures -eq 0 ]] || exit 1
echo "all of moe-checkpoint is well"
