#!/usr/bin/env bash
# What moe-train says and how it ends when it does not train: alone, and under
# mpirun, where all ranks come to the same end and one of them speaks.
#
#     command_test.sh BUILD_DIRECTORY RANKS      RANKS 0: without mpirun
set -u
program=$(cd "$1" && pwd)/bin/moe-train
ranks=$2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failures=0

fail() {
  echo "FAIL: moe-train $arguments: $*"
  sed 's/^/  | /' "$work/err" | head -5
  failures=$((failures + 1))
}

run() {
  arguments=$*
  if [[ $ranks -eq 0 ]]; then
    "$program" "$@" >"$work/out" 2>"$work/err" </dev/null
  else
    "$here/../mpirun.sh" "$ranks" "$program" "$@" \
      >"$work/out" 2>"$work/err" </dev/null
  fi
}

# refuses CODE TEXT ARGUMENTS...: one message with TEXT, nothing else.
refuses() {
  local code=$1 text=$2 got
  shift 2
  run "$@"
  got=$?
  [[ $got -eq $code ]] || fail "exit code $got, must be $code"
  [[ ! -s "$work/out" ]] || fail "prints to standard output"
  [[ $(wc -l <"$work/err") -eq 1 ]] || fail "not one line of message"
  grep -qF -- "moe-train: " "$work/err" || fail "the message has no name"
  grep -qF -- "$text" "$work/err" || fail "the message lacks '$text'"
}

# prints TEXT ARGUMENTS...: TEXT on standard output, once, and nothing else
# said.
prints() {
  local text=$1
  shift
  run "$@" || fail "exit code $?, must be 0"
  [[ ! -s "$work/err" ]] || fail "prints to standard error"
  [[ $(grep -cF -- "$text" "$work/out") -eq 1 ]] ||
    fail "does not print '$text' once"
}

prints "Usage: moe-train" --help
prints "moe-train 0." --version
prints "quickstart " --list-presets
prints "hidden_size: 77" --print-config model.hidden_size=77
prints "46,702,792,704" --dry-run --preset=mixtral-8x7b --ranks=64
prints "12,879,925,248" --dry-run --preset=mixtral-8x7b --ranks=64
# No byte that the terminal cannot show.
refuses 64 'caf\xE9' $'caf\xe9=1'
refuses 64 "did you mean --dry-run?" --dry-rum
refuses 64 "did you mean 'model.hidden_size'?" model.hiden_size=3
refuses 64 "schedule.steps is 'abc', must be an integer" schedule.steps=abc
refuses 64 "did you mean 'e8'?" --preset=e9
refuses 64 "--resume is given 2 times, as 'none' and 'x', must be given once" \
  --resume=none --resume=x
refuses 64 "did you mean optimizer.learning_rate=1?" --lr=1
refuses 64 "--ranks is 0, must be from 1" --dry-run --ranks=0
refuses 64 "must be given without one" --dry-run=yes
refuses 64 "data.train is empty" --preset=e8
refuses 64 "/nowhere" --config=/nowhere/run.textproto
refuses 64 "the nearest numbers of ranks are 8 and 16" --dry-run --ranks=9 \
  parallel.expert=8
refuses 69 "not in this build" run.device=CUDA

# A dry run prints what it can, and ends as the run would.
run --dry-run --preset=e8 data.train=nowhere.txt
[[ $? -eq 65 ]] || fail "exit code of missing data"
grep -q "^Memory of the largest rank" "$work/out" || fail "no sizes"
[[ $(cat "$work/err") == "moe-train: data.train: there is no file nowhere.txt"* ]] ||
  fail "not the run's message"
[[ $(wc -l <"$work/err") -eq 1 ]] || fail "not one line of message"

# One that a signal ends while it learns a vocabulary leaves none of it behind;
# each rank learns for itself. mpirun gives a rank a second to end, which a
# machine under load may need.
interrupted() {
  local launcher=() job tries
  arguments="--dry-run, ended by TERM"
  [[ $ranks -eq 0 ]] || launcher=("$here/../mpirun.sh" "$ranks")
  mkdir "$work/tmp"
  awk 'BEGIN {
    srand(1)
    for (i = 0; i < 100000; ++i) {
      word = ""
      for (j = 0; j < 7; ++j) word = word sprintf("%c", 97 + int(26 * rand()))
      print word
    }
  }' >"$work/text.txt"
  TMPDIR="$work/tmp" OMPI_MCA_odls_base_sigkill_timeout=5 \
    ${launcher[@]+"${launcher[@]}"} "$program" --dry-run \
    data.train="$work/text.txt" run.directory="$work/run" \
    >"$work/out" 2>"$work/err" </dev/null &
  job=$!
  made() { compgen -G "$work/tmp/moe-vocabulary-*/*.training" >/dev/null; }
  for ((tries = 0; tries < 3000; ++tries)); do
    if made || ! kill -0 "$job" 2>/dev/null; then break; fi
    sleep 0.02
  done
  made || fail "it learns no vocabulary"
  kill -TERM "$job"
  wait "$job"
  [[ $? -eq 75 || $ranks -gt 0 ]] || fail "exit code is not 75"
  ! compgen -G "$work/tmp/moe-vocabulary-*" || fail "they stay"
  [[ ! -e "$work/run" ]] || fail "a run directory stays"
  rm -rf "$work/tmp" "$work/text.txt"
}
interrupted

# Under a launcher that this MPI does not understand, what only tells of a
# program is told, and nothing else is done.
if [[ $ranks -eq 0 ]]; then
  export PMI_RANK=0 PMI_SIZE=2
  for named in bench checkpoint generate tokenize train; do
    for flag in --help --version; do
      arguments="($named) $flag, one of two"
      "${program%train}$named" $flag >"$work/out" 2>"$work/err" ||
        fail "exit code $?, must be 0"
      [[ -s "$work/out" && ! -s "$work/err" ]] || fail "not the text alone"
    done
    arguments="($named), one of two"
    "${program%train}$named" >"$work/out" 2>"$work/err" </dev/null
    [[ $? -eq 64 ]] || fail "exit code is not 64"
    [[ $(grep -c "^moe-$named: this is one of 2 processes" "$work/err") -eq 1 ]] ||
      fail "not one message of it"
  done
  prints "hidden_size: 77" --print-config model.hidden_size=77
  prints "quickstart " --list-presets
  refuses 64 "this is one of 2 processes" --dry-run
  unset PMI_RANK PMI_SIZE
fi

# Text that nobody gets is no success.
if [[ $ranks -eq 0 && -c /dev/full ]]; then
  arguments="--print-config >/dev/full"
  "$program" --print-config >/dev/full 2>"$work/err"
  [[ $? -eq 74 ]] || fail "exit code is not 74"
  grep -q "standard output" "$work/err" || fail "not a word of it"
  arguments="(moe-bench) --part=optimizer >/dev/full"
  "${program%train}bench" --part=optimizer --seconds=0.01 >/dev/full \
    2>"$work/err"
  [[ $? -eq 74 ]] || fail "exit code is not 74"
fi

# Warnings stand on standard error and change no code.
run --dry-run router.force_balance=true || fail "exit code $?, must be 0"
[[ $(grep -c "^moe-train: warning: .*benchmarks only" "$work/err") -eq 1 ]] ||
  fail "not one warning"

[[ -z $(ls -A "$work" | grep -v -e '^out$' -e '^err$') ]] ||
  { arguments=; fail "something was written"; }
if [[ $failures -gt 0 ]]; then
  echo "$failures failed"
  exit 1
fi
echo "all passed"
