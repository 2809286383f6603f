#!/usr/bin/env bash
# What holds a run is killed: launch/run.sh, launch/supervise.sh, a guard,
# mpirun, ranks. In the end no process, no shared memory and no temporary file of
# the run is left, and a run that nobody could stop any more has stopped in
# order.
#
#     guard_test.sh BUILD_DIRECTORY [one]
#
# With `one` only run.sh is killed.
set -um  # -m: else what is started in the background ignores INT
# Open MPI unloads plugins whose leaks no list can name.
export ASAN_OPTIONS=detect_leaks=0${ASAN_OPTIONS:+:$ASAN_OPTIONS}
build=$(cd "$1" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
source "$(dirname "${BASH_SOURCE[0]}")/small_run.sh"
mkdir "$work/tmp" "$work/bin"
export TMPDIR=$work/tmp
failures=0
num_ranks=3
exec 3>&1 2>"$work/bash"  # where bash tells of children that were killed

fail() {
  echo "FAIL: $what: $*"
  tail -5 "$work/err" | cut -c 1-300 | sed 's/^/  | /'
  failures=$((failures + 1))
} >&3

# start COMMAND...: sets $job, and of its processes those that are there.
start() {
  rm -rf "$run"
  "$@" "$program" "${small_model[@]}" schedule.steps=1000000 \
    run.directory="$run" >"$work/out" 2>"$work/err" </dev/null &
  job=$!
}

has_stepped() { [[ -s "$run/metrics.jsonl" ]]; }
has_ranks() { mapfile -t ranks < <(find_ranks) && ((${#ranks[@]} == num_ranks)); }
is_over() { ! lives "$job"; }
temporaries() { ls -A "$TMPDIR"; }
shared_memory() { compgen -G "/dev/shm/$mark" || true; }
all_is_gone() {
  is_over && [[ -z $(find_ranks) && -z $(temporaries) && -z $(shared_memory) ]]
}

# Sets $launcher (run.sh), $mpirun, $guard and $mark of the job that run.sh is.
look() {
  launcher=$1
  mpirun=$(pgrep -P "$launcher" -x mpirun)
  guard=$(pgrep -P "$launcher" -f launch/guard.sh)
  mark=$(basename "$(compgen -G "$TMPDIR/moe-run.*/ompi.*" | head -n 1 |
    xargs dirname)")
}

# Where the run keeps its shared memory: nowhere else than in its own folders.
check_folders() {
  local found
  found=$(grep -ohE '/dev/shm/[^ ]*|/[^ ]*/ompi\.[^ ]*' "/proc/${ranks[0]}/maps" |
    grep -vE "^(/dev/shm|$TMPDIR)/$mark/" | sort -u)
  [[ -z "$found" ]] || fail "maps $found"
  [[ -n $(shared_memory) ]] || fail "no shared memory to look for"
}

# ends CODE...: one of them, and nothing is left.
ends() {
  local got
  if ! await 120 all_is_gone; then
    fail "stays: $(find_ranks | tr '\n' ' ')$(temporaries) $(shared_memory)"
    kill -KILL "$job" $(find_ranks)
    rm -rf "${TMPDIR:?}"/*
  fi
  wait "$job"
  got=$?
  [[ " $* " == *" $got "* ]] || fail "exit code $got, must be in $*"
}

is_saved() {
  local newest
  newest=$(newest_checkpoint)
  [[ -n "$newest" ]] || fail "nothing was saved"
  grep -q "stopped as asked" "$work/err" || fail "not stopped in order"
}

run_sh=("$launch/run.sh" -n $num_ranks)

# --- a run ------------------------------------------------------------------
# begin WHAT
begin() {
  what=$1
  start "${run_sh[@]}"
  await 120 has_stepped || fail "no step"
  has_ranks || fail "${#ranks[@]} ranks"
  look "$job"
}
begin "run.sh killed"
check_folders
kill -KILL "$job"
ends 137
is_saved
if [[ ${2-} == one ]]; then finish >&3; fi
begin "mpirun killed"
kill -KILL "$mpirun"
ends 71 70
begin "run.sh and mpirun killed"
kill -KILL "$job" "$mpirun"
ends 137
begin "a rank killed"
kill -KILL "${ranks[1]}"
ends 71 70
begin "all ranks killed"
kill -KILL "${ranks[@]}"
ends 71 70
begin "the guard killed"
kill -KILL "$guard"
kill -USR1 "$job"
ends 75
begin "all is well"
kill -USR1 "$job"
ends 75

# --- its start --------------------------------------------------------------
# begin_start WHAT
begin_start() {
  what=$1
  start "${run_sh[@]}"
  await 120 has_ranks
  look "$job"
}
begin_start "run.sh killed at the start"
kill -KILL "$job"
ends 137
is_saved
begin_start "mpirun killed at the start"
kill -KILL "$mpirun"
ends 71 70
begin_start "a rank killed at the start"
kill -KILL "${ranks[0]}"
ends 71 70

# --- supervised -------------------------------------------------------------
supervised=("$launch/supervise.sh" --first-delay=0)
# begin_supervised WHAT COMMAND...
begin_supervised() {
  what=$1
  shift
  start "${supervised[@]}" "$@"
  await 120 has_stepped || fail "no step"
  await 60 has_ranks
}
begin_supervised "supervise.sh killed" "${run_sh[@]}"
look "$(pgrep -P "$job" -f "launch/run\.sh")"
kill -KILL "$job"
ends 137
is_saved
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
bare_mpirun=(mpirun -q --oversubscribe --bind-to none -n $num_ranks)
begin_supervised "supervise.sh of a bare mpirun killed" "${bare_mpirun[@]}"
kill -KILL "$job"
ends 137
is_saved
supervised+=(--max-restarts=0)
begin_supervised "a bare mpirun under supervise.sh killed" "${bare_mpirun[@]}"
mapfile -t segments < <(grep -oh '/dev/shm/[^ ]*' "/proc/${ranks[0]}/maps")
((${#segments[@]} > 0)) || fail "no shared memory to look for"
kill -KILL "$(pgrep -P "$job" -x mpirun)"
ends 137
for file in "${segments[@]}"; do
  if [[ -e "$file" ]]; then fail "$file stays"; fi
done

# --- deaf to what it is asked -----------------------------------------------
# A program that ignores all but KILL.
cat >"$work/bin/deaf" <<'PLAYER'
#!/usr/bin/env bash
trap '' USR1 TERM INT HUP
echo $$ >"$STARTED"
while :; do sleep 1; done
PLAYER
chmod +x "$work/bin/deaf"
export STARTED=$work/started
has_started() { [[ -s "$STARTED" ]]; }
# begin_deaf WHAT
begin_deaf() {
  what=$1
  : >"$STARTED"
  MOE_STOP_SECONDS=1 "$launch/run.sh" -n 1 "$work/bin/deaf" >"$work/out" \
    2>"$work/err" </dev/null &
  job=$!
  await 60 has_started || fail "does not start"
  look "$job"
}
# ends_deaf CODE
ends_deaf() {
  ends "$1"
  if lives "$(cat "$STARTED")"; then
    fail "it lives on"
    kill -KILL "$(cat "$STARTED")" "$mpirun"
  fi
}
begin_deaf "mpirun of a deaf program killed"
kill -KILL "$mpirun"
ends_deaf 71
begin_deaf "run.sh of a deaf program killed, mpirun stopped"
kill -STOP "$mpirun"
kill -KILL "$job"
ends_deaf 137

finish >&3
