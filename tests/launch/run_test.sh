#!/usr/bin/env bash
# launch/run.sh and signals: who asks finds the weights saved (75); a rank that
# was killed or has crashed is said, by one line and the right exit code; what
# keeps mpirun from starting ranks is not passed over in silence.
#
#     run_test.sh BUILD_DIRECTORY
set -um  # -m: else what is started in the background ignores INT
build=$(cd "$1" && pwd)
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

fail() {
  echo "FAIL: $*"
  sed 's/^/  | /' "$work/err" | tail -5
  failures=$((failures + 1))
}

# An endless run of three ranks, in its second step or later when this returns.
# Sets $job (run.sh) and $ranks.
start() {
  rm -rf "$work/run"
  "$here/../../launch/run.sh" -n 3 "$build/bin/moe-train" --preset=quickstart \
    model.vocab_size=300 model.hidden_size=32 model.intermediate_size=32 \
    model.num_hidden_layers=2 model.num_attention_heads=4 \
    model.num_key_value_heads=2 model.num_local_experts=4 \
    batch.global_size=8 batch.sequence_length=32 schedule.steps=1000000 \
    eval.interval_steps=0 log.interval_steps=1 run.directory="$work/run" \
    data.train="$work/text.txt" >"$work/out" 2>"$work/err" </dev/null &
  job=$!
  until [[ -s "$work/run/metrics.jsonl" ]]; do
    kill -0 "$job" 2>/dev/null || return
    sleep 0.1
  done
  mapfile -t ranks < <(pgrep -f "^$build/bin/moe-train.*$work/run")
}

# ends CODE TEXT WHAT: how the run does.
ends() {
  local code=$1 text=$2 what=$3 got
  wait "$job"
  got=$?
  [[ $got -eq $code ]] || fail "$what: exit code $got, must be $code"
  grep -qF -- "$text" "$work/err" || fail "$what: no word of '$text'"
  pgrep -f "^$build/bin/moe-train.*$work/run" && fail "$what: ranks stay"
}

awk 'BEGIN {
  for (i = 0; i < 3000; ++i)
    print "the " i * 7919 % 1000 " cats and " i * 31 % 100 " dogs run"
}' >"$work/text.txt"

for signal in INT TERM USR1 HUP; do
  start
  kill -$signal "$job"
  ends 75 "stopped as asked after step" $signal
  compgen -G "$work/run/checkpoints/step_*/model*.safetensors" >/dev/null ||
    fail "$signal: no weights"
done

start
kill -KILL "${ranks[1]}"
ends 71 "run.sh: a rank was ended by SIGKILL" "a rank killed"
start
kill -SEGV "${ranks[1]}"
ends 70 "run.sh: a rank was ended by SIGSEGV" "a rank crashed"

"$here/../../launch/run.sh" --hostfile "$work/nowhere" -n 2 true \
  >"$work/out" 2>"$work/err" && fail "a missing host file: exit code 0"
[[ $(wc -l <"$work/err") -ge 1 ]] || fail "a missing host file: not a word"
env -i "$here/../../launch/run.sh" -n 2 true 2>"$work/err" ||
  fail "an empty environment: exit code $?"

if [[ $failures -gt 0 ]]; then
  echo "$failures failed"
  exit 1
fi
echo "all passed"
