# Sourced by tests of whole runs: a run of a small model, that is watched and
# ended from outside. $build is the build's folder, $work the test's own.

# Open MPI unloads plugins whose leaks no list can name.
export ASAN_OPTIONS=detect_leaks=0${ASAN_OPTIONS:+:$ASAN_OPTIONS}
source "$(dirname "${BASH_SOURCE[0]}")/finish.sh"
launch=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../launch" && pwd)
program=$build/bin/moe-train
run=$work/run

small_model=(--preset=quickstart model.vocab_size=300 model.hidden_size=32
  model.intermediate_size=32 model.num_hidden_layers=2
  model.num_attention_heads=4 model.num_key_value_heads=2
  model.num_local_experts=4 model.initializer_range=0.02 batch.global_size=8
  batch.sequence_length=32 run.threads=1 eval.interval_steps=0
  log.interval_steps=1 data.train="$work/text.txt")

awk 'BEGIN {
  for (i = 0; i < 3000; ++i)
    print "the " i * 7919 % 1000 " cats and " i * 31 % 100 " dogs run"
}' >"$work/text.txt"

# Processes that train in $run.
find_ranks() {
  pgrep -f "^$program .*run.directory=$run( |\$)"
}

# Has $1 seconds to become true; else fails.
await() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < deadline)) || return
    sleep 0.05
  done
}

# lives PID: and is no zombie.
lives() {
  local stat
  read -r stat <"/proc/$1/stat" || return
  [[ "${stat##*) }" != Z* ]]
} 2>/dev/null

newest_checkpoint() {
  find "$run/checkpoints" -maxdepth 1 -name 'step_*[0-9]' 2>/dev/null |
    sort | tail -n 1
}
