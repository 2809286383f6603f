#!/usr/bin/env bash
# launch/slurm.sbatch on a private one-node Slurm: the job that is told of its
# limit saves, is put back into the queue, and goes on; the one that is to end
# does. Of one whose mpirun is killed nothing stays.
#
#     slurm_test.sh BUILD_DIRECTORY [one]
#
# With `one` only the job is put back into the queue.
set -u
build=$(cd "$1" && pwd)
work=$(mktemp -d)
trap 'stop_slurm; rm -rf "$work"' EXIT
source "$(dirname "${BASH_SOURCE[0]}")/small_run.sh"
source "$(dirname "${BASH_SOURCE[0]}")/slurm_node.sh"
mkdir "$work/tmp"
export TMPDIR=$work/tmp

fail() {
  echo "FAIL: $*"
  tail -5 "$work/log" | cut -c 1-300 | sed 's/^/  | /'
  if [[ -n "$id" ]]; then
    scancel "$id"
    await 60 is_over
  fi
  exit 1
}

if ! start_slurm; then
  echo "ALL TESTS SKIPPED: Slurm, because $slurm_reason"
  exit 0
fi

# The script names programs as in the root of a tree that is built.
mkdir -p "$work/tree/build"
cp -r "$launch" "$work/tree/launch"
ln -s "$build/bin" "$work/tree/build/bin"
program=$work/tree/launch/../build/bin/moe-train

state_is() { [[ $(squeue -h -j "$id" -o %T 2>/dev/null) == "$1" ]]; }
: >"$work/log"
num_starts_is() { [[ $(grep -c "^training " "$work/log") -eq $1 ]]; }
steps_since() { [[ $(grep -A 9 "$1" "$work/log") == *$'\nstep '* ]]; }
is_over() { ! squeue -h -j "$id" 2>/dev/null | grep -q .; }
has_no_ranks() { [[ -z $(find_ranks) ]]; }
is_cleared() { [[ -z $(ls -A "$TMPDIR") ]]; }

# submit SCRIPT: sets $id, a job that trains.
submit() {
  id=$(cd "$work/tree" &&
    sbatch --parsable --nodes=1 --ntasks-per-node=3 --output="$work/log" \
      "$1" "${small_model[@]}" schedule.steps=1000000 run.directory="$run" \
      checkpoint.interval_steps=1000000) || fail "sbatch refuses $1"
  await 120 steps_since "^training " || fail "no step"
}

submit launch/slurm.sbatch
scancel --batch --signal=USR1 "$id"
await 120 state_is PENDING || fail "not put back into the queue"
has_no_ranks || fail "ranks stay"
grep -q "^moe-train: stopped as asked" "$work/log" || fail "not ended in order"
if [[ ${2-} == one ]]; then
  scancel "$id"
  echo "all passed"
  exit
fi

# Slurm waits for two minutes unless told, and forgets what it was told before it
# had put the job back.
is_started_again() {
  scontrol update JobId="$id" StartTime=now 2>/dev/null
  num_starts_is 2
}
await 480 is_started_again || fail "not started again"
await 120 steps_since "^going on from" || fail "no step after the restart"
scancel --batch --signal=TERM "$id"
await 120 is_over || fail "does not end"
[[ $(grep -c "^moe-train: stopped as asked" "$work/log") -eq 2 ]] ||
  fail "not ended in order for good"
scontrol show job "$id" | grep -q " Restarts=1 .* ExitCode=75:0" ||
  fail "$(scontrol show job "$id" | grep ExitCode)"
has_no_ranks || fail "ranks stay"
is_cleared || fail "$(ls "$TMPDIR") stays"

: >"$work/log"
rm -rf "$run"
cat >"$work/tree/job.sh" <<'JOB'
#!/usr/bin/env bash
exec launch/run.sh moe-train "$@"
JOB
submit job.sh
rank=$(find_ranks | head -n 1)
mpirun=$(awk '/^PPid/ { print $2 }' "/proc/$rank/status")
mapfile -t mapped < <(grep -ohE '/dev/shm/[^ ]*|/[^ ]*/ompi\.[^ ]*' \
  "/proc/$rank/maps" | sort -u)
((${#mapped[@]} > 0)) || fail "maps no file to look for"
kill -KILL "$mpirun"
await 120 is_over || fail "does not end when mpirun is killed"
scontrol show job "$id" | grep -q " ExitCode=71:0" ||
  fail "mpirun killed: $(scontrol show job "$id" | grep ExitCode)"
await 60 has_no_ranks || fail "ranks stay"
await 60 is_cleared || fail "$(ls "$TMPDIR") stays"
for file in "${mapped[@]}"; do
  if [[ -e $file ]]; then fail "$file stays"; fi
done
echo "all passed"
