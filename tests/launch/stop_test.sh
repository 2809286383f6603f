#!/usr/bin/env bash
# Signals that ask a run to end: whatever started it, whichever signal comes,
# to whom and when, the run ends in time with the right code, everything is
# saved where that is promised, and nothing stays behind.
#
#     stop_test.sh BUILD_DIRECTORY
#         [--all | LAUNCHER SIGNAL TARGET PHASE [ARGUMENT ...]]
#
#     LAUNCHER  run.sh, mpirun, srun (on a private one-node Slurm), none
#     SIGNAL    INT TERM USR1 HUP KILL, or two of them, as in TERM,INT: the
#               second comes when the run is saving because of the first
#     TARGET    launcher, one (of the ranks), all (ranks)
#     PHASE     start (no handler stands), step, save
#     ARGUMENT  of moe-train
#
# mpirun itself gives its ranks too little time to save after INT, TERM and HUP,
# srun after TERM and HUP: then a whole checkpoint of earlier must stand. srun
# keeps the first INT to itself. Of an mpirun that is killed Open MPI's own files
# stay, unless run.sh had started it.
#
# Without an option, of every launcher, signal and target one phase, by turns,
# which takes a few minutes; --all takes all, and ten minutes.
set -um  # -m: else what is started in the background ignores INT
build=$(cd "$1" && pwd)
shift
work=$(mktemp -d)
trap 'stop_slurm; rm -rf "$work"' EXIT
source "$(dirname "${BASH_SOURCE[0]}")/small_run.sh"
source "$(dirname "${BASH_SOURCE[0]}")/slurm_node.sh"
mkdir "$work/tmp"
export TMPDIR=$work/tmp
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
# Open MPI unloads plugins whose leaks no list can name.
export ASAN_OPTIONS=detect_leaks=0${ASAN_OPTIONS:+:$ASAN_OPTIONS}
num_ranks=3
patience=${PATIENCE-120}  # seconds for whatever should take one or two
failures=0
cells=0

fail() {
  echo "FAIL: $cell: $*"
  tail -5 "$work/err" | cut -c 1-300 | sed 's/^/  | /'
  failures=$((failures + 1))
}

# start LAUNCHER PHASE ARGUMENT...: sets $job.
start() {
  local command interval=1000000 arguments=("${@:3}")
  case $1 in
    run.sh) command=("$launch/run.sh" -n $num_ranks) ;;
    mpirun) command=(mpirun --oversubscribe --bind-to none -n $num_ranks) ;;
    srun) command=(srun --kill-on-bad-exit --mpi=pmix -n $num_ranks) ;;
    none) command=(env) ;;
  esac
  if [[ $killed == mpirun ]]; then
    command+=(--mca btl_vader_backing_directory "$TMPDIR")  # it stays
  fi
  if [[ $2 == save ]]; then interval=2; fi
  rm -rf "$run" "$work/mapped"
  "${command[@]}" "$program" "${small_model[@]}" schedule.steps=1000000 \
    checkpoint.interval_steps=$interval "${arguments[@]}" \
    run.directory="$run" >"$work/out" 2>"$work/err" </dev/null &
  job=$!
}

is_saving() { compgen -G "$run/checkpoints/step_*[0-9].tmp" >/dev/null; }
has_ended() { ! lives "$job"; }
saves_or_has_ended() { is_saving || has_ended; }
has_no_ranks() { [[ -z $(find_ranks) ]]; }

# In the phase, or over.
has_come_to() {
  has_ended && return
  case $1 in
    start) mapfile -t ranks < <(find_ranks) && [[ ${#ranks[@]} -eq $expected ]] ;;
    step) [[ -s "$run/metrics.jsonl" ]] ;;
    save) [[ -n $(newest_checkpoint) ]] && is_saving ;;
  esac
}

# send SIGNAL TARGET
send() {
  case $2 in
    launcher) kill -"$1" "$job" ;;
    one) kill -"$1" "${ranks[-1]}" ;;
    all) kill -"$1" "${ranks[@]}" ;;
  esac
} 2>/dev/null

# codes LAUNCHER SIGNAL TARGET PHASE: prints those that may come.
codes() {
  local by_signal
  by_signal=$((128 + $(kill -l "${2%,*}")))
  case "$1 $2 $3 $4" in
    "none KILL "* | *" KILL launcher "*) echo $by_signal ;;
    "run.sh KILL "*) echo 71 ;;
    *" KILL "*) echo $by_signal 71 143 ;;
    "run.sh "*,INT" launcher "*) echo 75 1 ;;
    "run.sh "*" launcher "*) echo 75 ;;
    "run.sh "*,INT" "*) echo 75 71 ;;
    *,INT" "*) echo 75 1 130 ;;
    "mpirun "*" launcher "*) echo 1 75 $by_signal ;;
    "srun "[TH]*" launcher "*) echo 75 137 143 $by_signal ;;
    "srun "*" start") echo 75 71 143 $by_signal ;;
    *" start") echo 75 71 $by_signal ;;
    *) echo 75 ;;
  esac
}

# Shared memory of all ranks, as long as they have it.
note_mapped() {
  local pid
  for pid in "${ranks[@]}"; do
    grep -ohE '/dev/shm/[^ ]*|/[^ ]*/(ompi|moe-run)\.[^ ]*' "/proc/$pid/maps"
  done >"$work/mapped"
} 2>/dev/null

# Sets $code, to words where the launcher is to blame. Open MPI 4.1.4 can lock
# mpirun up when it loses a rank that connects to it, or lose it to SIGPIPE;
# run.sh ends it then, here nobody does. Slurm's srun ends with 0 when ranks die while it launches them.
await_end() {
  local locked=
  if [[ $launcher == mpirun && $phase == start ]]; then
    await $patience eval 'has_ended || has_no_ranks'
    if ! await 20 has_ended; then locked=yes; fi
  elif ! await $patience has_ended; then
    fail "has not ended in $patience seconds"
  fi
  if ! has_ended; then kill -KILL "$job" $(find_ranks); fi
  wait "$job"
  code=$?
  if [[ -n "$locked" ]]; then
    code="mpirun has locked itself up"
    rm -rf "${TMPDIR:?}"/*
  elif [[ $launcher-$phase-$code == mpirun-start-141 ]]; then
    code="mpirun has died of a broken pipe"
    rm -rf "${TMPDIR:?}"/*
  elif [[ $launcher-$phase-$code == srun-start-0 ]] &&
    grep -q 'aborted before step completely launched' "$work/err"; then
    code="srun calls good what it could not launch"
  fi
} 2>/dev/null

# The guard of a run.sh that was killed ends the run in order.
check_checkpoint() {
  local newest
  newest=$(newest_checkpoint)
  if [[ -n "$newest" ]]; then
    "$build/bin/moe-checkpoint" verify "$newest" >"$work/err" 2>&1 ||
      fail "$newest is damaged"
  elif [[ $code == 75 || $phase == save || $killed == run.sh ]]; then
    fail "exit code $code, and no checkpoint"
  fi
}

is_cleared() { has_no_ranks && [[ -z $(ls -A "$TMPDIR") ]]; }
is_unmapped() {
  local file
  has_no_ranks || return
  while read -r file; do
    if [[ -e "$file" ]]; then return 1; fi
  done <"$work/mapped"
}

check_nothing_stays() {
  local file left
  left=$(find_ranks)
  if [[ -n "$left" ]]; then
    fail "ranks stay: $left"
    kill -KILL $left
  fi
  if [[ $killed == mpirun ]]; then rm -rf "${TMPDIR:?}"/*; fi
  while read -r file; do
    if [[ -e "$file" ]]; then fail "$file stays"; fi
  done < <(sort -u "$work/mapped")
  left=$(ls -A "$TMPDIR")
  if [[ -n "$left" ]]; then
    fail "in the folder for temporary files stays: $left"
    rm -rf "${TMPDIR:?}"/*
  fi
}

# stop LAUNCHER SIGNAL[,SIGNAL] TARGET PHASE ARGUMENT...
stop() {
  local began=$SECONDS expected=$num_ranks code may
  launcher=$1 phase=$4 killed=
  if [[ "$2 $3" == "KILL launcher" ]]; then killed=$launcher; fi
  cell="$*"
  if [[ $launcher == none ]]; then expected=1; fi
  cells=$((cells + 1))
  start "$1" "$4" "${@:5}"
  await $patience has_come_to "$4" || fail "does not come to $4"
  mapfile -t ranks < <(find_ranks)
  note_mapped
  send "${2%,*}" "$3"
  if [[ $2 == *,* ]]; then
    await $patience saves_or_has_ended
    send "${2#*,}" "$3"
  fi
  if [[ "$1 $2 $3" == "srun INT launcher" ]]; then
    await $patience eval '[[ -s "$run/metrics.jsonl" ]]' ||
      fail "the first INT to srun ends the run"
    send USR1 launcher
  fi
  await_end
  # srun and mpirun may leave before their ranks' last breath, run.sh does not.
  # Slurm's daemon takes away what the ranks of a killed srun had mapped.
  case $killed-$launcher in
    run.sh-*) await $patience is_cleared ;;
    -run.sh) ;;
    srun-*) await 10 is_unmapped ;;
    *) await 10 has_no_ranks ;;
  esac
  may=$(codes "${@:1:4}")
  [[ $code == *[a-z]* || " $may " == *" $code "* ]] ||
    fail "exit code $code, must be in $may"
  check_checkpoint
  check_nothing_stays
  echo "$cell: $code in $((SECONDS - began)) s"
}

launchers=(none run.sh mpirun)
if start_slurm; then
  launchers+=(srun)
else
  echo "SKIPPED: everything under srun, because $slurm_reason"
fi

signals=(INT TERM USR1 HUP KILL)
targets=(launcher one all)
phases=(start step save)

# stop_each [all]: of every launcher, signal and target one phase, or all; of
# every launcher and target, and of every launcher and phase, each at least once.
stop_each() {
  local launcher signal target phase
  for launcher in "${launchers[@]}"; do
    for signal in "${!signals[@]}"; do
      for target in "${!targets[@]}"; do
        [[ $launcher != none || $target == 0 ]] || continue
        for phase in "${!phases[@]}"; do
          [[ "${1-}" == all || $phase == $(((signal + target) % 3)) ]] ||
            continue
          stop "$launcher" "${signals[signal]}" "${targets[target]}" \
            "${phases[phase]}"
        done
      done
    done
    [[ $launcher == none ]] ||
      stop "$launcher" KILL one step parallel.watchdog=false
    stop "$launcher" TERM,USR1 launcher step
    stop "$launcher" USR1,INT launcher step
    [[ $launcher == none ]] || stop "$launcher" USR1,INT all step
    [[ $launcher != run.sh ]] || stop run.sh INT,INT launcher step
  done
}

case "${1-}" in
  '') stop_each ;;
  --all) stop_each all ;;
  *) stop "$@" ;;
esac

if [[ $failures -gt 0 ]]; then
  echo "$failures failed"
  exit 1
fi
echo "all $cells passed"
