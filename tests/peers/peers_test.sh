#!/usr/bin/env bash
# Trains the quick start's model for 100 steps and lets Hugging Face
# transformers judge it: the loss of every step, the saved checkpoint's logits,
# its weights exported in bfloat16, and the tokenizer.
#
#     peers_test.sh BUILD_DIRECTORY [CURVES.csv]
#
# MOE_PEERS_PYTHON names a python with peers/requirements.txt (./launch/test.sh
# --peers makes one); without it the test is skipped, loudly.
set -euo pipefail
build=$(cd "$1" && pwd)
curves=${2-}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

if [[ -z "${MOE_PEERS_PYTHON-}" ]]; then
  echo "ALL TESTS SKIPPED: MOE_PEERS_PYTHON is not set; ./launch/test.sh" \
       "--peers compares with transformers"
  exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
run=$work/run
dump=$work/dump

# One micro-step a step, on two ranks: a layout changes no number.
"$here/../mpirun.sh" 2 "$build/bin/moe-train" --preset=quickstart \
  run.directory="$run" schedule.steps=100 log.interval_steps=1 \
  eval.interval_steps=0 batch.micro_size=0 \
  router.aux_loss_semantics=HF_MIXTRAL router.aux_loss_scope=MICRO_BATCH
"$build/tests/dump_run" "$run" "$build/share/moe" "$dump"

setting() {  # the value of a key of the effective configuration
  awk -v key="$1:" '$1 == key {print $2; exit}' "$run/config.textproto"
}
"$MOE_PEERS_PYTHON" "$here/loss_curve.py" --initial "$dump/step_00000000" \
  --batches "$dump/batches.safetensors" --metrics "$run/metrics.jsonl" \
  --beta1 "$(setting beta1)" --beta2 "$(setting beta2)" \
  --epsilon "$(setting epsilon)" --weight-decay "$(setting weight_decay)" \
  --clip-norm "$(setting clip_norm)" \
  --aux-loss-coefficient "$(setting aux_loss_coefficient)" \
  --steps 100 --out "${curves:-$work/curves.csv}"
"$build/bin/moe-checkpoint" export "$run" --output="$work/bfloat16" \
  --max-shard-size=4MB
"$MOE_PEERS_PYTHON" "$here/check_checkpoint.py" \
  "$run/checkpoints/step_00000100" --logits "$dump/logits.safetensors" \
  --text "$dump/texts.json" --exported "$work/bfloat16"
