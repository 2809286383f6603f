#!/usr/bin/env bash
# Jobs in which a rank is lost, stopped, stuck, crashed or elsewhere: each ends
# in time, with one report that names the rank and the cause, and the exit code
# of commands and README.
#
#     lost_rank_test.sh BUILD_DIRECTORY
#         [one | starts | trials NUMBER SEED | calm SECONDS]
#
# With one: a planted defect and a killed rank.
# With starts, instead: a rank that stops at any call of MPI in a job's start.
# With trials, instead: that many runs of 4, 8 or 16 ranks in which a rank that
# the seed draws is killed or stopped at a random moment; each must be named.
# With calm, instead: a run of 16 ranks of that length beside two busy loops a
# core, in which ranks stand still for 30 s now and then: no false alarm.
set -u
build=$(cd "$1" && pwd)
form=${2-short}
number=${3-0}
seed=${4-1}
work=$(mktemp -d)
source "$(dirname "${BASH_SOURCE[0]}")/../launch/small_run.sh"
trap 'rm -rf "$work"' EXIT
failures=0
sanitized=
if grep -q 'MOE_SANITIZE:STRING=.' "$build/CMakeCache.txt"; then sanitized=yes; fi

fail() {
  echo "FAIL: $*"
  cut -c 1-300 "$work/err" | grep -v '^step ' | tail -12 | sed 's/^/  | /'
  failures=$((failures + 1))
}

# --- planted defects ----------------------------------------------------------
# Under run.sh: a bare mpirun may lock itself up when its ranks are gone.
four_ranks=("$launch/run.sh" --timeout 500 -n 4)

# faulty CASE TEXT...: what the report of faulty_run must say.
faulty() {
  local name=$1 text
  shift
  "${four_ranks[@]}" "$build/tests/faulty_run" \
    --gtest_filter="FaultyRun.$name" >"$work/out" 2>"$work/err" </dev/null &&
    fail "$name: it ended well"
  for text in "$@"; do
    grep -qE -- "$text" "$work/err" || fail "$name: no word of '$text'"
  done
  [[ $(grep -c '^what each rank was doing:' "$work/err") -eq 1 ]] ||
    fail "$name: not one report"
  grep -q 'nobody noticed' "$work/out" "$work/err" && fail "$name: not noticed"
}

planted_defects() {
  faulty Skip 'is in another collective than the others of its group' \
    'step 10, layer [01], (dispatch|experts|combine)' '^rank 1 '
  faulty Swap 'is in another collective' 'sum of gradients' 'sum of losses' '^rank 1 '
  faulty OtherCounts 'rank 1 sent [0-9]+ of the [0-9]+ bytes expected' 'step 10'
  faulty WrongSums 'rank 1 of group expert sends row counts' 'must .* sum to'
  faulty OtherLayer 'rank 1 of group expert sends row counts of step 10, layer'
  faulty Spin '^rank 1 .* keeps the others waiting' 'layer 4, experts' \
    'collective_timeout_seconds \(15\)' 'SpinForEver'
  faulty StopsAtStart '^rank 1 .* does not answer: its process is stopped' \
    'creation of the communicator in group'
  faulty StopsAtEnd '^rank 1 .* does not answer: its process is stopped' \
    'end of MPI in group world'
  faulty FailAlone '^rank 1 .* cannot go on: memory for a buffer'
  faulty FailAfterOneHasLeft '^rank 1 .* cannot go on: memory for a buffer' \
    'rank 3: has left in good order'
  if [[ -z "$sanitized" ]]; then  # which takes crashes for itself
    faulty Check '^rank 1 .* crashed: SIGABRT' 'FaultyRun_Check_Test'
  fi
  "${four_ranks[@]}" "$build/tests/faulty_run" \
    --gtest_filter=FaultyRun.None >"$work/out" 2>"$work/err" </dev/null ||
    fail "None: exit code $?"
}

# --- real runs ----------------------------------------------------------------

# launch_run OPTIONS OF RUN.SH... -- ARGUMENTS...: an endless run. Sets $job.
launch_run() {
  local options=()
  while [[ $1 != -- ]]; do
    options+=("$1")
    shift
  done
  shift
  rm -rf "$run"
  "$launch/run.sh" "${options[@]}" "$program" "${small_model[@]}" \
    batch.global_size=16 schedule.steps=1000000 run.directory="$run" "$@" \
    >"$work/out" 2>"$work/err" </dev/null &
  job=$!
}

# start RANKS ARGUMENTS...: an endless run in its second step or later when this
# returns. Sets $job and $pids, by rank.
start() {
  local ranks=$1 pid
  shift
  launch_run -n "$ranks" -- "$@"
  until [[ -s "$run/metrics.jsonl" ]]; do
    if ! kill -0 "$job" 2>/dev/null; then
      fail "the run did not start"
      return 1
    fi
    sleep 0.05
  done
  pids=()
  for pid in $(pgrep -f "^$program.*$run"); do
    pids[$(tr '\0' '\n' <"/proc/$pid/environ" |
      sed -n 's/^OMPI_COMM_WORLD_RANK=//p')]=$pid
  done
  [[ ${#pids[@]} -eq $ranks ]] || fail "${#pids[@]} ranks, must be $ranks"
}

# ends CODE SECONDS TEXT: how the run does, and how soon at most. Five times the
# promise, since a machine may be busy.
ends() {
  local code=$1 limit=$2 text=$3 begin=$SECONDS got
  wait "$job"
  got=$?
  local took=$((SECONDS - begin))
  [[ $got -eq $code ]] || fail "$what: exit code $got, must be $code"
  [[ $took -le $((5 * limit)) ]] || fail "$what: it took $took s"
  grep -qE -- "$text" "$work/err" || fail "$what: no word of '$text'"
  [[ $(grep -c '^what each rank was doing:' "$work/err") -eq 1 ]] ||
    fail "$what: not one report"
  grep -qE -- "${text#moe-train: }" "$run/failure/lost_rank.txt" ||
    fail "$what: the report is not in the run directory"
  pgrep -f "^$program.*$run" >/dev/null &&
    fail "$what: ranks stay"
}

# knows_all: the report has a last word of every rank.
knows_all() {
  grep -E 'not known|no word from it' "$work/err" &&
    fail "$what: there are ranks of which nothing is known"
}

# lose SIGNAL RANK: kills or stops it, and looks.
lose() {
  local signal=$1 rank=$2
  kill "-$signal" "${pids[rank]}"
  case $signal in
    KILL) ends 71 10 "moe-train: rank $rank .* was lost" ;;
    STOP)
      ends 71 15 "moe-train: rank $rank .* does not answer: .* stopped"
      kill -KILL "${pids[rank]}" 2>/dev/null
      ;;
    SEGV) ends 70 10 "moe-train: rank $rank .* crashed: SIGSEGV" ;;
  esac
}

real_runs() {
  local signals=(KILL STOP) signal rank
  if [[ -z "$sanitized" ]]; then signals+=(SEGV); fi
  for signal in "${signals[@]}"; do
    for rank in 0 1 3; do
      what="$signal of rank $rank of 4"
      start 4 parallel.collective_timeout_seconds=10 && lose "$signal" "$rank"
    done
  done
  # The first two of those that would tell are lost, or stopped, together.
  what="KILL of ranks 0 and 1 of 4"
  start 4
  sleep 2  # each has told what it does
  kill -KILL "${pids[0]}" "${pids[1]}"
  ends 71 10 'moe-train: rank 0 .* was lost: .*; so were ranks 1'
  knows_all
  what="STOP of ranks 0 and 1 of 4"
  start 4 parallel.collective_timeout_seconds=10
  sleep 2
  kill -STOP "${pids[0]}" "${pids[1]}"
  ends 71 16 'moe-train: rank 0 .* does not answer: .* stopped'
  knows_all
  kill -KILL "${pids[0]}" "${pids[1]}" 2>/dev/null

  what="KILL of rank 11 of 16"
  start 16 && lose KILL 11

  # The launcher is gone: the ranks see it and end, and say so in their
  # directory (nobody reads their standard error any more).
  what="KILL of mpirun"
  start 4
  kill -KILL "$(pgrep -P "$job" -x mpirun)"
  wait "$job"
  local tries=0
  while pgrep -f "^$program.*$run" >/dev/null; do
    if ((++tries > 500)); then
      fail "$what: ranks stay"
      kill -KILL "${pids[@]}"
      break
    fi
    sleep 0.1
  done

  what="a collective's time limit is not reached"
  start 4 parallel.collective_timeout_seconds=30
  kill -STOP "${pids[2]}"
  sleep 3
  kill -CONT "${pids[2]}"
  goes_on

  # Ranks that wait for another are suspended, and go on waiting for it.
  what="a job is suspended as a whole for longer than its limit"
  start 4 parallel.collective_timeout_seconds=8
  kill -STOP "${pids[2]}"
  await_standstill
  kill -STOP "${pids[@]}"
  sleep 10
  kill -CONT "${pids[0]}" "${pids[1]}" "${pids[3]}"
  sleep 1
  kill -CONT "${pids[2]}"
  goes_on
}

num_steps() { wc -l <"$run/metrics.jsonl"; }

await_standstill() {
  local before=0
  until [[ $(num_steps) -eq $before ]]; do
    before=$(num_steps)
    sleep 0.5
  done
}

# The run takes further steps, then stops as asked, without a report.
goes_on() {
  local before code
  before=$(num_steps)
  until [[ $(num_steps) -gt $((before + 5)) ]]; do
    kill -0 "$job" 2>/dev/null || break
    sleep 0.1
  done
  kill -USR1 "$job"
  wait "$job"
  code=$?
  [[ $code -eq 75 ]] || fail "$what: exit code $code, must be 75"
  [[ ! -e "$run/failure" ]] || fail "$what: a report"
}

# stop_at CALL COUNT RANK: a start in which that rank stops there.
stop_at() {
  local library=$build/tests/libmoe_stop_at_call.so
  what="STOP of rank $3 of 4 at call $2 of $1"
  # AddressSanitizer's library would stand first, without any need.
  ASAN_OPTIONS=$ASAN_OPTIONS:verify_asan_link_order=0 \
    launch_run -n 4 -x LD_PRELOAD="$library" -x MOE_STOP_CALL="$1" \
    -x MOE_STOP_COUNT="$2" -x MOE_STOP_RANK="$3" -- \
    parallel.collective_timeout_seconds=5
  ends 71 13 "moe-train: rank $3 .* does not (answer|come to the start of the job): .* stopped"
}

# The calls of MPI until the watchdog of each rank stands: the runtime's, then
# the watchdog's.
all_starts() {
  local rank i
  for rank in 0 1 3; do
    stop_at MPI_Init_thread 1 "$rank"
    stop_at MPI_Comm_split_type 1 "$rank"
    for i in 1 2 3 4; do stop_at MPI_Allreduce "$i" "$rank"; done
    stop_at MPI_Allgather 1 "$rank"
    for i in 1 2 3 4 5 6; do stop_at MPI_Bcast "$i" "$rank"; done
  done
}

some_starts() {
  stop_at MPI_Init_thread 1 0
  stop_at MPI_Init_thread 1 3
  stop_at MPI_Allgather 1 1
  stop_at MPI_Bcast 1 0
  stop_at MPI_Bcast 6 3
}

random_trials() {
  RANDOM=$seed
  local sizes=(4 8 16) signals=(KILL KILL STOP) i
  for ((i = 1; i <= number; ++i)); do
    local size=${sizes[RANDOM % 3]} signal=${signals[RANDOM % 3]}
    local rank=$((RANDOM % size))
    what="trial $i: $signal of rank $rank of $size"
    start "$size" parallel.collective_timeout_seconds=10 \
      checkpoint.interval_steps=7 || return
    sleep "0.$((RANDOM % 10))$((RANDOM % 10))"
    lose "$signal" "$rank"
    if ((i % 20 == 0)); then echo "$i trials"; fi
  done
  echo "$number trials, $failures failed"
}

calm() {
  local busy=() end=$((SECONDS + number)) i rank
  for ((i = 0; i < 2 * $(nproc); ++i)); do
    while :; do :; done &
    busy+=($!)
  done
  what="$number calm seconds"
  start 16 parallel.collective_timeout_seconds=60 checkpoint.interval_steps=50
  while ((SECONDS < end)) && kill -0 "$job" 2>/dev/null; do
    rank=$((RANDOM % 16))
    kill -STOP "${pids[rank]}"
    sleep 30
    kill -CONT "${pids[rank]}"
    sleep 60
  done
  kill -USR1 "$job"
  wait "$job"
  i=$?
  kill "${busy[@]}"
  [[ $i -eq 75 ]] || fail "$what: exit code $i, must be 75"
  [[ ! -e "$run/failure" ]] || fail "$what: a report"
  echo "$number s, $(wc -l <"$run/metrics.jsonl") steps"
}

one_of_each() {
  faulty Skip 'is in another collective than the others of its group' '^rank 1 '
  what="KILL of rank 1 of 4"
  start 4 && lose KILL 1
}

case $form in
  one) one_of_each ;;
  starts) all_starts ;;
  trials) random_trials ;;
  calm) calm ;;
  *)
    planted_defects
    some_starts
    real_runs
    ;;
esac
finish
