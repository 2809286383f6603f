#!/usr/bin/env bash
# One command, launch/supervise.sh, trains to the end unattended while a rank,
# all ranks, mpirun or launch/run.sh are killed again and again. It ends with the
# last checkpoint of a run that nobody touched, byte for byte, and every step
# once in metrics.jsonl; the log has a line for each kill; nothing stays behind.
#
#     supervised_storm.sh BUILD_DIRECTORY KILLS SEED
#
# The kills come at a start, in a step or in a save, as the seed draws. No three
# of them come without a new checkpoint: supervise.sh would take it for a run
# that fails at the same step whatever is done. kill_storm aims at the parts of a
# save, and starts the run itself.
set -u
build=$(cd "$1" && pwd)
kills=$2
seed=$3
work=$(mktemp -d)
source "$(dirname "${BASH_SOURCE[0]}")/killed_run.sh"
mkdir "$work/tmp"
export TMPDIR=$work/tmp
RANDOM=$seed

num_ranks=4
patience=300  # seconds for whatever should take one or two
# More than the kills use up.
steps=$((kills * 10 + 60))
supervisor=''

leave() {
  if [[ -n "$supervisor" ]]; then kill -TERM "$supervisor"; fi
  wait
  rm -rf "$work"
} 2>/dev/null
trap leave EXIT

# train DIRECTORY COMMAND...: becomes the run.
train() {
  local directory=$1
  shift
  exec "$@" "$launch/run.sh" -n $num_ranks "$program" "${small_model[@]}" \
    schedule.steps=$steps checkpoint.interval_steps=3 checkpoint.keep=2 \
    run.directory="$directory" >"$work/out" 2>"$work/err" </dev/null
}

is_over() { ! lives "$supervisor"; }

# Sets $runner (run.sh), $mpirun and $pids of the newest start; fails as long as
# they are not all there, or are those of $old_mpirun.
find_processes() {
  is_over && die "it has ended before it was killed"
  runner=$(pgrep -P "$supervisor" -f "^bash [^ ]*launch/run\.sh") || return
  mpirun=$(pgrep -P "$runner" -x mpirun) || return
  [[ "$mpirun" != "$old_mpirun" ]] || return
  mapfile -t pids < <(pgrep -P "$mpirun" -x moe-train)
  [[ ${#pids[@]} -eq $num_ranks ]]
}

# Whether this start has made a step: a line of it follows its first words.
has_stepped() {
  is_over && die "it has ended before it was killed"
  tail -c "+$((said + 1))" "$work/err" | awk '
    /^training / { begun = 1; stepped = 0 }
    /^step / && begun { stepped = 1 }
    END { exit !stepped }'
}

is_saving() { compgen -G "$run/checkpoints/step_*[0-9].tmp" >/dev/null; }
has_new_checkpoint() { [[ "$(newest_checkpoint)" != "$seen" ]]; }

strike() {
  if [[ $victim == run.sh ]]; then
    kill -KILL "$runner"
  else
    kill_victim "$victim"
  fi
}

kill=0
(train "$work/calm") || die "the undisturbed run failed: code $?"

train "$run" "$launch/supervise.sh" --first-delay=0 --max-restarts=3 &
supervisor=$!
declare -A count=()
victims=(rank all mpirun run.sh)
aims=(start step save)
old_mpirun='' seen='' fruitless=0
for ((kill = 1; kill <= kills; ++kill)); do
  victim=${victims[RANDOM % ${#victims[@]}]}
  aim=${aims[RANDOM % ${#aims[@]}]}
  said=$(stat -c %s "$work/err")
  await $patience find_processes || die "does not start"
  if has_new_checkpoint; then fruitless=0; fi
  seen=$(newest_checkpoint)
  if ((++fruitless == 2)); then
    await $patience has_new_checkpoint || die "no new checkpoint"
    seen=$(newest_checkpoint) fruitless=0
  fi
  [[ $aim == start ]] || await $patience has_stepped || die "no step"
  [[ $aim != save ]] || await $patience is_saving || die "no save"
  old_mpirun=$mpirun
  strike
  count[$aim]=$((${count[$aim]-0} + 1))
  count[$victim]=$((${count[$victim]-0} + 1))
done

kill="$kills, the last"
await 3600 is_over || die "does not end"
wait "$supervisor"
code=$?
supervisor=''
[[ $code -eq 0 ]] || die "code $code"
logged=$(wc -l <"$run/restarts.jsonl")
[[ $logged -eq $kills ]] || die "restarts.jsonl: $logged lines"
expect_calm_end
[[ -z $(ls -A "$TMPDIR") ]] || die "$(ls "$TMPDIR") stays"
[[ -z $(find_ranks) ]] || die "ranks stay"

for key in "${aims[@]}" "${victims[@]}"; do
  printf '%-6s %4d\n' "$key" "${count[$key]-0}" >&3
done
echo "$kills kills, one command: nothing was lost" >&3
