#!/usr/bin/env bash
# Runs over two hosts, which are namespaces of this machine (two_hosts.sh):
# losses are those of one host; a rank that is killed or stopped on either, and
# a host that is lost, are named and the job ends; so it is where the hosts have
# one name; a signal stops the run with all saved, and it goes on. A case is the
# name of a function below.
#
#     hosts_test.sh BUILD_DIRECTORY [CASE ...]
#
# Only root can make such hosts.
set -um  # -m: else what is started in the background ignores INT
build=$(cd "$1" && pwd)
shift
work=$(mktemp -d)
trap clean_up EXIT
source "$(dirname "${BASH_SOURCE[0]}")/small_run.sh"
source "$(dirname "${BASH_SOURCE[0]}")/two_hosts.sh"
failures=0
what=

# All that knows of $work is of this test: run.sh, its guard, mpirun, ranks.
clean_up() {
  stop_hosts
  kill -KILL $(pgrep -f -- "$work")
  rm -rf "$work"
} 2>/dev/null

fail() {
  echo "FAIL: $what: $*"
  grep -v '^step ' "$work/err" | tail -12 | cut -c 1-300 | sed 's/^/  | /'
  failures=$((failures + 1))
}

# launch HOSTS ARGUMENTS...: a run that run.sh starts on host a. Sets $job.
launch() {
  local hosts=$1 entering
  shift
  enter a
  "${entering[@]}" "$launch/run.sh" -H "$hosts" -x ASAN_OPTIONS \
    --mca plm_rsh_agent "$work/agent" "$program" "${small_model[@]}" \
    schedule.steps=1000000 run.directory="$run" "$@" >"$work/out" 2>"$work/err" </dev/null &
  job=$!
}

has_ended() { ! lives "$job"; }
has_stepped_or_ended() { [[ -s "$run/metrics.jsonl" ]] || has_ended; }
has_no_ranks() { [[ -z $(find_ranks) ]]; }

# begin WHAT HOSTS ARGUMENTS...: an endless run in its second step. Sets $pids, by
# rank.
begin() {
  local pid
  what=$1
  shift
  rm -rf "$run"
  launch "$@"
  await 120 has_stepped_or_ended
  if has_ended; then fail "it did not start"; fi
  pids=()
  for pid in $(find_ranks); do
    pids[$(tr '\0' '\n' <"/proc/$pid/environ" |
      sed -n 's/^OMPI_COMM_WORLD_RANK=//p')]=$pid
  done
}

# ends CODE SECONDS: and nothing of it stays.
ends() {
  local got
  if ! await "$2" has_ended; then
    fail "has not ended in $2 s"
    kill -KILL $(pgrep -f -- "run.directory=$run")
  fi
  wait "$job"
  got=$?
  [[ $got -eq $1 ]] || fail "exit code $got, must be $1"
  if ! await 30 has_no_ranks; then
    fail "ranks stay: $(find_ranks | tr '\n' ' ')"
    kill -KILL $(find_ranks)
  fi
}

# leaves_nothing: no file for the time of the run, on either host.
temporaries() {
  local host
  for host in a b; do
    on_host $host find "$work/tmp.$host" /dev/shm -mindepth 1 -printf "$host:%p "
  done
}
leaves_nothing() { [[ -z $(temporaries) ]]; }
check_temporaries() {
  await 20 leaves_nothing || fail "stays: $(temporaries)"
}

# names TEXT: the one report does, on standard error and in the run directory.
names() {
  grep -qE -- "^moe-train: $1" "$work/err" || fail "no word of '$1'"
  [[ $(grep -c '^what each rank was doing:' "$work/err") -eq 1 ]] ||
    fail "not one report"
  grep -qE -- "^$1" "$run/failure/lost_rank.txt" ||
    fail "the report is not in the run directory"
}

losses() { sed 's/.*"loss":\([^,]*\),.*/\1/' "$1/metrics.jsonl"; }

# --- cases --------------------------------------------------------------------
same_losses() {
  what="losses"
  local length=(schedule.steps=8 schedule.warmup_steps=2)
  "$launch/run.sh" -n 4 "$program" "${small_model[@]}" "${length[@]}" \
    run.directory="$work/reference" >"$work/out" 2>"$work/err" </dev/null ||
    fail "one host: exit code $?"
  rm -rf "$run"
  launch a:2,b:2 "${length[@]}"
  ends 0 120
  check_temporaries
  [[ $(wc -l <"$run/metrics.jsonl") -eq 8 ]] || fail "not 8 steps"
  [[ "$(losses "$run")" == "$(losses "$work/reference")" ]] ||
    fail "losses differ: $(losses "$run" | tr '\n' ' ') and on one host" \
      "$(losses "$work/reference" | tr '\n' ' ')"
}

# lost_rank RANK HOST
lost_rank() {
  begin "KILL of rank $1" a:2,b:2
  kill -KILL "${pids[$1]}"
  ends 71 50
  names "rank $1 \(pid [0-9]+ on host $2\) was lost"
}

# stopped_rank RANK HOST
stopped_rank() {
  begin "STOP of rank $1" a:2,b:2 parallel.collective_timeout_seconds=10
  kill -STOP "${pids[$1]}"
  ends 71 75
  names "rank $1 \(pid [0-9]+ on host $2\) does not answer: .* is stopped"
}

lost_ranks() {
  local rank
  for rank in 3 2 0; do
    if ((rank < 2)); then lost_rank $rank a; else lost_rank $rank b; fi
  done
}

stopped_ranks() {
  stopped_rank 3 b
  stopped_rank 0 a
}

# A network that is away for less than a minute is waited for.
link_comes_back() {
  local until steps
  begin "a link that comes back" a:2,b:2
  set_link down
  until=$((SECONDS + 20))
  await 60 eval "has_ended || ((SECONDS > $until))"
  steps=$(wc -l <"$run/metrics.jsonl")
  set_link up
  await 120 eval 'has_ended || [[ $(wc -l <"$run/metrics.jsonl") -gt $((steps + 5)) ]]'
  if has_ended; then fail "has ended"; fi
  kill -USR1 "$job"
  ends 75 120
  [[ ! -e "$run/failure" ]] || fail "a report"
}

# Neither host hears of the other any more: each has its hub, and tells.
lost_host() {
  begin "a lost host" a:2,b:2
  set_link down
  ends 71 300
  grep -qE "^moe-train: rank [23] .* on host b\) was lost" "$work/err" ||
    fail "the other host is not named"
  set_link up
}

equal_names() {
  stop_hosts
  start_hosts node node || fail "$hosts_reason"
  same_losses
  lost_rank 3 node
  stopped_rank 2 node
  stop_hosts
  start_hosts || fail "$hosts_reason"
}

stop_and_go_on() {
  begin "USR1" a:2,b:2 checkpoint.interval_steps=1000000
  kill -USR1 "$job"
  ends 75 120
  check_temporaries
  local newest steps
  newest=$(newest_checkpoint)
  [[ -n "$newest" ]] || fail "nothing is saved"
  steps=$(wc -l <"$run/metrics.jsonl")
  what="going on"
  launch a:1,b:2 schedule.steps=$((steps + 3)) schedule.warmup_steps=2
  ends 0 120
  grep -qF "going on from $newest" "$work/err" ||
    fail "does not go on from $newest"
  [[ $(wc -l <"$run/metrics.jsonl") -eq $((steps + 3)) ]] ||
    fail "$(wc -l <"$run/metrics.jsonl") steps, must be $((steps + 3))"
}

# The host of mpirun has no ranks.
launched_from_elsewhere() {
  begin "mpirun on a host without ranks" b:2
  local until=$((SECONDS + 75))
  await 90 eval "has_ended || ((SECONDS > $until))"
  if has_ended; then fail "has ended"; fi
  kill -USR1 "$job"
  ends 75 120
  check_temporaries
}

if ! start_hosts; then
  echo "ALL TESTS SKIPPED: two hosts, because $hosts_reason"
  exit 0
fi
if [[ $# -eq 0 ]]; then
  set -- same_losses lost_ranks stopped_ranks stop_and_go_on equal_names \
    launched_from_elsewhere link_comes_back lost_host
fi
for name in "$@"; do
  began=$SECONDS
  "$name"
  echo "$name: $((SECONDS - began)) s"
done
finish
