#!/usr/bin/env bash
# What a system refuses, to each program: locks, shared mappings, syncs, sizes of
# files, threads, memory, files, readers. One message, the right exit code, no
# temporary file, and no rank that is said to be lost.
#
#     limits_test.sh BUILD_DIRECTORY
set -um  # -m: else what is started in the background ignores INT
build=$(cd "$1" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
source "$(dirname "${BASH_SOURCE[0]}")/small_run.sh"
cd "$work" || exit 1
# Files that whoever starts this has left open would count under ulimit -n.
for file in /proc/$$/fd/*; do
  number=${file##*/}
  if ((number > 2 && number != 255)); then eval "exec $number>&-"; fi
done
preload=$build/tests/libmoe_refusing_libc.so
failures=0

if ldd "$program" | grep -q libasan; then
  echo "ALL TESTS SKIPPED: AddressSanitizer's library must be the first loaded"
  exit 0
fi

fail() {
  echo "FAIL: $what: $*"
  sed 's/^/  | /' err | cut -c 1-300 | tail -5
  failures=$((failures + 1))
}

# The words of env behind which a program is refused something.
refusing() { refused=(env "LD_PRELOAD=$preload" "$@"); }
refused=()

# run WHAT COMMAND...: sets $code.
run() {
  what=$1
  shift
  if [[ $1 != limited ]]; then set -- timeout -k 5 120 "$@"; fi
  "$@" >out 2>err </dev/null
  code=$?
}

# ends CODE TEXT
ends() {
  [[ $code -eq $1 ]] || fail "exit code $code, must be $1"
  [[ -z $2 ]] || grep -qF -- "$2" err || fail "no word of '$2'"
}

leaves_nothing() {
  local left
  left=$(find "$@" -name '*.tmp' -o -name '*.training' -o -name '*.held*')
  [[ -z $left ]] || fail "leaves $left"
}

says_once() {
  [[ $(grep -c "^$1: " err) -eq 1 ]] || fail "not one message of $1"
}

train=("$program" "${small_model[@]}" schedule.steps=2 schedule.warmup_steps=0
  run.directory="$run")
mpirun_2=("$(dirname "$launch")/tests/mpirun.sh" 2)
programs=$build/bin

# What all others look at.
run "a run" "${train[@]}" run.directory="$work/good" eval.interval_steps=1
ends 0 ""
good=$work/good/checkpoints/step_00000002
model=$good/tokenizer.model

# --- file systems -----------------------------------------------------------
for error in 38 37 95 22; do  # ENOSYS ENOLCK EOPNOTSUPP EINVAL
  refusing MOE_REFUSE_FLOCK=$error
  run "flock: $error" "${refused[@]}" "${train[@]}"
  ends 0 "without flock; locks of fcntl keep other jobs out"
  [[ $(grep -c warning err) -eq 1 ]] || fail "not one warning"
done
refusing MOE_REFUSE_FLOCK=38 MOE_REFUSE_FCNTL=37
run "no locks" "${refused[@]}" "${train[@]}"
ends 0 "files *.held keep other jobs out"
leaves_nothing "$run"

# Of two jobs one trains; what it leaves when it is killed keeps nobody out.
endless() {
  "${refused[@]}" "$@" "${train[@]}" schedule.steps=1000000 >out2 2>err2 \
    </dev/null &
  job=$!
  await 60 has_stepped || fail "no step: $(cat err2)"
}
has_stepped() { [[ -s $run/metrics.jsonl ]] || ! lives "$job"; }
for kind in MOE_REFUSE_FCNTL=0 MOE_REFUSE_FCNTL=37; do
  refusing MOE_REFUSE_FLOCK=38 "$kind"
  rm -rf "$run"
  endless "${mpirun_2[@]}"
  run "$kind, two jobs" "${refused[@]}" "${train[@]}"
  ends 64 "where another job is running"
  find_ranks | xargs kill -KILL
  wait "$job"
  run "$kind, after a killed one" "${refused[@]}" "${train[@]}"
  ends 0 "keep other jobs out"
  leaves_nothing "$run"
done

# One command goes on after a rank was killed.
what="supervise.sh without locks"
rm -rf "$run"
"${refused[@]}" "$launch/supervise.sh" --first-delay=0 "$launch/run.sh" -n 2 \
  "${train[@]}" schedule.steps=1000000 >out 2>err </dev/null &
supervisor=$!
await 60 test -s "$run/metrics.jsonl" || fail "no step"
find_ranks | tail -n 1 | xargs kill -KILL
two_starts() { [[ $(grep -c '^training ' err) -eq 2 ]]; }
await 60 two_starts || fail "not started again"
kill -INT "$supervisor"
wait "$supervisor"
[[ $? -eq 75 ]] || fail "exit code is not 75"
leaves_nothing "$run"

refusing MOE_REFUSE_SHARED=19 MOE_REFUSE_UNDER="$work"
rm -rf "$run"
run "no shared mappings" "${refused[@]}" "${train[@]}"
ends 0 "saved in"
run "no shared mappings" "${refused[@]}" "$programs/moe-checkpoint" verify "$run"
ends 0 ""
run "no shared mappings" "${refused[@]}" "$programs/moe-generate" \
  --checkpoint="$run" --max-tokens=2
ends 0 ""
for error in 22 38 95; do
  refusing MOE_REFUSE_SYNC=$error
  rm -rf "$run"
  run "no sync: $error" "${refused[@]}" "${train[@]}"
  ends 0 "saved in"
done
refusing MOE_REFUSE_SYNC=5
run "a sync that fails" "${refused[@]}" "${train[@]}" --resume=none \
  run.directory="$work/unsynced"
ends 74 "cannot sync"

# --- sizes of files ---------------------------------------------------------
limited() {  # limited OPTION VALUE COMMAND...
  (ulimit "$1" "$2" && exec "${@:3}")
}
head -c 300000 text.txt >large.txt
for blocks in 1 64; do
  run "ulimit -f $blocks" limited -f $blocks "$programs/moe-tokenize" \
    --input=large.txt --output=tokens --tokenizer="$model"
  ends 74 "File too large"
  says_once moe-tokenize
  [[ -z $(compgen -G 'tokens*') ]] || fail "leaves $(compgen -G 'tokens*')"
  run "ulimit -f $blocks" limited -f $blocks "$programs/moe-checkpoint" \
    export "$good" --output=exported
  ends 74 "File too large"
  says_once moe-checkpoint
  [[ -z $(compgen -G 'exported*') ]] || fail "leaves exported"
  rm -rf "$run"
  run "ulimit -f $blocks" limited -f $blocks "${train[@]}"
  ends 74 ""
  says_once moe-train
  leaves_nothing "$run"
done
# Of several ranks, whose shared memory is files too.
for blocks in 1 64 4096; do
  rm -rf "$run"
  run "ulimit -f $blocks, 2 ranks" limited -f $blocks "$launch/run.sh" -n 2 \
    "${train[@]}"
  ends 74 "files may have $blocks KiB (ulimit -f)"
  says_once run.sh
  [[ $(wc -l <err) -eq 1 ]] || fail "more than one message"
  leaves_nothing "$work"
done
run "ulimit -f, 2 ranks, large files" limited -f 20480 "$launch/run.sh" -n 2 \
  "${train[@]}" model.hidden_size=512 model.intermediate_size=512
ends 74 "File too large"
says_once moe-train
leaves_nothing "$run"
rm -rf "$run"
run "ulimit -f, learning pieces" limited -f 64 "$programs/moe-tokenize" \
  --input=large.txt --output=tokens --vocab-size=300
ends 74 ""
[[ -z $(compgen -G 'tokens*') ]] || fail "leaves $(compgen -G 'tokens*')"
# --- files ------------------------------------------------------------------
run "ulimit -n" limited -n 4 "$programs/moe-tokenize" --input=large.txt \
  --output=tokens --tokenizer="$model"
ends 69 "Too many open files"
leaves_nothing "$work"

# --- threads ----------------------------------------------------------------
# may_refuse COMMAND...: done, or refused by one message.
may_refuse() {
  run "$what" "$@"
  case $code in
    0) ;;
    69)
      [[ $(grep -c '^moe-[a-z]*: ' err) -eq 1 ]] || fail "not one message"
      grep -qE 'thread|memory was refused|unavailable' err || fail "no reason"
      num_refused=$((num_refused + 1))
      ;;
    *) fail "exit code $code, must be 0 or 69" ;;
  esac
  ! grep -q "was lost" err || fail "a rank is said to be lost"
}
# tries VARIABLE NUMBERS COMMAND...: at each of the numbers.
tries() {
  local number variable=$1 numbers=$2
  shift 2
  num_refused=0
  for number in $numbers; do
    what="$variable=$number of $*"
    what=${what::120}
    refusing "$variable=$number"
    rm -rf "$run" exported tokens*
    may_refuse "${refused[@]}" "$@"
    leaves_nothing "$work"
  done
  ((num_refused > 0)) || fail "never refused"
}
generate=("$programs/moe-generate" --checkpoint="$good" --max-tokens=2)
export_bf16=("$programs/moe-checkpoint" export "$good" --output=exported)
tokenize=("$programs/moe-tokenize" --input=large.txt --output=tokens
  --tokenizer="$model")
bench=("$programs/moe-bench" --part=attention --seconds=0.01 run.threads=2)
trained=("${train[@]}" data.tokenizer="$model" run.threads=3)
tries MOE_MOST_THREADS "0 1 2 3" "${trained[@]}"
tries MOE_MOST_THREADS "0 1" "${generate[@]}"
tries MOE_MOST_THREADS "0 1" "${tokenize[@]}"
tries MOE_MOST_THREADS "0 1" "${bench[@]}"

# Of one of two ranks, also where Open MPI needs its own.
export MOE_REFUSE_RANK=1
ranks=("$launch/run.sh" -n 2 "${trained[@]}")
tries MOE_MOST_THREADS "2 3 4 5 6 7" "${ranks[@]}"

# --- memory -----------------------------------------------------------------
tries MOE_REFUSE_NEW "30000" "${ranks[@]}"
unset MOE_REFUSE_RANK
numbers="1 1000 5000 20000"
tries MOE_REFUSE_NEW "$numbers" "${trained[@]}"
# While a checkpoint is written.
export MOE_REFUSE_SINCE=.tmp
tries MOE_REFUSE_NEW "1 2 10 50" "${trained[@]}"
tries MOE_REFUSE_NEW "1 10 50" "${export_bf16[@]}"
unset MOE_REFUSE_SINCE
tries MOE_REFUSE_NEW "$numbers" "${generate[@]}"
tries MOE_REFUSE_NEW "$numbers" "${export_bf16[@]}"
tries MOE_REFUSE_NEW "$numbers" "${tokenize[@]}"
tries MOE_REFUSE_NEW "3000 10000" "${bench[@]}"

# --- readers ----------------------------------------------------------------
# reads_one WHAT CODE COMMAND...: the reader takes a line, and leaves.
reads_one() {
  what=$1
  "${@:3}" 2>err </dev/null | head -n 1 >out
  code=${PIPESTATUS[0]}
  [[ $code -eq $2 ]] || fail "exit code $code, must be $2"
  [[ ! -s err ]] || fail "a word without need"
}
reads_one "list | head" 0 "$programs/moe-checkpoint" list "$work/good"
reads_one "inspect | head" 0 "$programs/moe-checkpoint" inspect "$good"
reads_one "--print-config | head" 0 "$program" --print-config
reads_one "--dry-run | head" 0 "${train[@]}" run.directory="$work/dry" --dry-run
reads_one "generate | head" 0 "$programs/moe-generate" --checkpoint="$good" \
  --prompt=$'the\ncats' --max-tokens=20
reads_one "bench | head" 0 "${bench[@]}"
cp -r "$good" damaged
echo >>damaged/config.json
what="verify | head"
"$programs/moe-checkpoint" verify damaged 2>err | true
[[ ${PIPESTATUS[0]} -eq 65 ]] || fail "not the code of damage"
what="nobody reads a run"
rm -rf "$run"
"${train[@]}" schedule.steps=50 2>&1 | head -n 1 >out
[[ ${PIPESTATUS[0]} -eq 0 && -e $run/checkpoints/step_00000050 ]] ||
  fail "it does not train to its end"
rm -rf "$run"
"$launch/supervise.sh" "$launch/run.sh" -n 2 "${train[@]}" schedule.steps=50 \
  2>&1 | head -n 1 >out
[[ ${PIPESTATUS[0]} -eq 0 && -e $run/checkpoints/step_00000050 ]] ||
  fail "supervised, it does not train to its end"

if [[ $failures -gt 0 ]]; then
  echo "$failures failed"
  exit 1
fi
echo "all passed"
