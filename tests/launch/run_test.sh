#!/usr/bin/env bash
# launch/run.sh, and moe-train alone, when signals come: who asks finds the
# weights saved (75); a rank that was killed or has crashed is said, by one line
# and the right exit code; what keeps mpirun from starting ranks is not passed
# over in silence.
#
#     run_test.sh BUILD_DIRECTORY
set -um  # -m: else what is started in the background ignores INT
# Open MPI unloads plugins whose leaks no list can name; a crash must look as it
# does without the sanitizer.
export ASAN_OPTIONS=detect_leaks=0:handle_segv=0${ASAN_OPTIONS:+:$ASAN_OPTIONS}
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

# start LAUNCHER...: an endless run, in its second step or later when this
# returns, whose messages go to $err. Sets $job and $ranks.
err=$work/err
start() {
  rm -rf "$work/run"
  "$@" "$build/bin/moe-train" --preset=quickstart \
    model.vocab_size=300 model.hidden_size=32 model.intermediate_size=32 \
    model.num_hidden_layers=2 model.num_attention_heads=4 \
    model.num_key_value_heads=2 model.num_local_experts=4 \
    batch.global_size=8 batch.sequence_length=32 schedule.steps=1000000 \
    eval.interval_steps=0 log.interval_steps=1 run.directory="$work/run" \
    data.train="$work/text.txt" >"$work/out" 2>"$err" </dev/null &
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

run_sh=("$here/../../launch/run.sh" -n 3)
alone=(env)

saves() {
  compgen -G "$work/run/checkpoints/step_*/model*.safetensors" >/dev/null ||
    fail "$1: no weights"
}

for signal in INT TERM USR1 HUP; do
  start "${run_sh[@]}"
  kill -$signal "$job"
  ends 75 "stopped as asked after step" "run.sh, $signal"
  saves "run.sh, $signal"
  start "${alone[@]}"
  kill -$signal "$job"
  ends 75 "stopped as asked after step" "alone, $signal"
  saves "alone, $signal"
done

# A reader of the messages that leaves after the first. mpirun itself may crash
# in the end, so that only without it the code is ours.
mkfifo "$work/pipe"
err=$work/pipe
head -n 1 "$work/pipe" >"$work/err" &
start "${run_sh[@]}"
kill -INT "$job"
wait "$job"
saves "run.sh, INT, nobody reads"
head -n 1 "$work/pipe" >"$work/err" &
start "${alone[@]}"
kill -INT "$job"
ends 75 "" "alone, INT, nobody reads"
saves "alone, INT, nobody reads"
err=$work/err

start "${run_sh[@]}"
kill -KILL "${ranks[1]}"
ends 71 "run.sh: SIGKILL ended a rank" "a rank killed"
start "${run_sh[@]}"
kill -SEGV "${ranks[1]}"
ends 70 "run.sh: SIGSEGV ended a rank" "a rank crashed"

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
