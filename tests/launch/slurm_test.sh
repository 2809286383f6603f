#!/usr/bin/env bash
# launch/slurm.sbatch on a private one-node Slurm: the job that is told of its
# limit saves, is put back into the queue, and goes on; the one that is to end
# does. Of one whose mpirun is killed nothing stays. Processes of an srun that
# cannot join are refused, and nothing else under Slurm is.
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

# --- one process or several -------------------------------------------------
id=
# srun refuses the rest of a step's tasks the sooner for it.
several=(srun --kill-on-bad-exit -n 2)
for plugin in none pmi2; do
  for named in moe-train moe-bench moe-tokenize moe-generate; do
    # On a busy machine srun may end a step before it has passed its output on.
    for _ in 1 2 3; do
      "${several[@]}" --mpi=$plugin "$build/bin/$named" >"$work/log" 2>&1 &&
        fail "srun --mpi=$plugin $named runs"
      grep -q "^$named: " "$work/log" && break
    done
    [[ $(grep -c "^$named: this is one of 2 processes that srun started" \
      "$work/log") -eq 1 ]] || fail "srun --mpi=$plugin $named: not one message"
    grep -q "srun --mpi=pmix, or launch/run.sh -n 2" "$work/log" ||
      fail "srun --mpi=$plugin $named: no word of what to type"
    grep -q "exit code 64" "$work/log" || fail "srun --mpi=$plugin: not 64"
  done
done
# runs WHAT COMMAND...
runs() {
  "${@:2}" >"$work/log" 2>&1 </dev/null || fail "$1: exit code $?"
}
shown=("$build/bin/moe-train" --dry-run)
runs "srun --pty" srun --mpi=none -n 1 --pty "${shown[@]}"
runs "a shell of salloc" salloc -Q -n 4 bash -c '"$@"' - "${shown[@]}"
runs "one task in it" salloc -Q -n 4 bash -c 'srun --mpi=none -n 1 "$@"' - \
  "${shown[@]}"
runs "several that join" srun --mpi=pmix -n 2 "${shown[@]}"
printf '#!/bin/sh\n"%s" --dry-run\n' "${shown[0]}" >"$work/batch.sh"
runs "a batch script" sbatch -W -n 4 -o "$work/batch" "$work/batch.sh"
runs "a batch script of a step" srun --mpi=none -n 2 bash -c \
  '[[ $SLURM_PROCID -ne 0 ]] || exec "$@"' - \
  sbatch -W -n 4 -o "$work/batch" "$work/batch.sh"

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
# had put the job back. In the second in which it did that, it kills the job when
# it starts it ("Job credential revoked").
put_back=$SECONDS
is_started_again() {
  if ((SECONDS > put_back + 2)); then
    scontrol update JobId="$id" StartTime=now 2>/dev/null
  fi
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
