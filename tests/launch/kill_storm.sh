#!/usr/bin/env bash
# A run that is killed again and again and started again by the same command
# ends as one that nobody touched: the last checkpoint byte for byte, and every
# step once in metrics.jsonl, of the same sequences and with the same loss.
#
#     kill_storm.sh BUILD_DIRECTORY KILLS SEED
#
# By turns a rank, all ranks or mpirun gets SIGKILL, at a moment that the seed
# draws: at a start, in a step, or in a part of a save, which is aimed at by
# watching the directory of the checkpoints. What stood there in full when the
# kill came must be where the next start goes on, or something newer; and before
# that start trains, every rank of the job before must be gone.
#
# The phases that are counted are what the directory shows at the kill:
#
#     start     no step yet since this start
#     step      no save is to be seen
#     snapshot  step_N.tmp stands, empty: the snapshot is being taken, or it is
#               and no thread has made a file yet
#     write     some of its files stand, whole or not
#     agree     all of its files stand, no manifest: syncing the last of them,
#               or the ranks agreeing on the digests
#     manifest  the manifest stands too: writing or syncing it, or syncing the
#               directory
#     rename    step_N stands, and what it lets go of stands untouched
#     delete    that is step_M.tmp and is being removed
#
# Of a thousand kills or more at least 3 % must hit each.
#
# Nothing outside tells syncing from writing, or the renames from the syncs of
# the directories beside them: crash_test cuts a save between any two calls.
set -u
build=$(cd "$1" && pwd)
kills=$2
seed=$3
work=$(mktemp -d)
source "$(dirname "${BASH_SOURCE[0]}")/killed_run.sh"
RANDOM=$seed

ranks=4
keep=2
# Two of each rank and eight of rank 0's, without the manifest.
files_in_save=16
# While there are kills, more than they can use up. How long the run is changes
# none of its numbers: the rate is constant.
steps=$((kills * 40 + 60))
job='' mpirun=''
pids=() old_pids=()

leave() {
  if [[ -n "$job" ]]; then kill -9 "$mpirun" "${pids[@]}"; fi
  wait
  rm -rf "$work"
} 2>/dev/null
trap leave EXIT

# train DIRECTORY: becomes the run.
train() {
  exec "$launch/run.sh" -n $ranks "${launcher_directory[@]}" \
    "$program" "${small_model[@]}" \
    schedule.steps=$steps schedule.warmup_steps=1 schedule.decay=CONSTANT \
    checkpoint.interval_steps=3 checkpoint.keep=$keep run.directory="$1" \
    >"$work/out" 2>"$work/err" </dev/null
}

# Sets $newest (step_N that stands in full), $standing (how many), $saving
# (step_N.tmp that is newer) and $dying (one that is older); '' if none.
look() {
  local path name temporaries=()
  newest='' standing=0 saving='' dying=''
  for path in "$run"/checkpoints/step_*; do
    name=${path##*/}
    case $name in
      *.tmp) temporaries+=("$name") ;;
      *[0-9]) newest=$name standing=$((standing + 1)) ;;
    esac
  done
  for name in ${temporaries[@]+"${temporaries[@]}"}; do
    if [[ "$name" > "$newest" ]]; then saving=$name; else dying=$name; fi
  done
}

# Sets $phase, and what look sets.
see() {
  local files
  look
  if [[ -z "$started" ]]; then
    phase=start
  elif [[ -n "$saving" ]]; then
    files=("$run/checkpoints/$saving"/*)
    if [[ ${#files[@]} -gt $files_in_save ]]; then
      phase=manifest
    elif [[ ${#files[@]} -eq $files_in_save ]]; then
      phase=agree
    elif [[ -e "${files[0]}" ]]; then
      phase=write
    else
      phase=snapshot
    fi
  elif [[ -n "$dying" ]]; then
    phase=delete
  elif [[ $standing -gt $keep ]]; then
    phase=rename
  else
    phase=step
  fi
}

# Starts the run, and finds its processes as far as they are there.
start() {
  : >"$work/err"  # of the start before: it must not be taken for this one's
  train "$run" &
  job=$!
  mpirun='' pids=() started=''
}
find_processes() {
  [[ -n "$mpirun" ]] || mpirun=$(pgrep -P "$job" -x mpirun)
  [[ -z "$mpirun" ]] || mapfile -t pids < <(pgrep -P "$mpirun" -x moe-train)
}

# Returns when the run has made a step, having looked where it began.
await_step() {
  local said pid
  until [[ -n "$started" ]]; do
    lives "$job" || die "the run ended at its start"
    if [[ ${#pids[@]} -lt $ranks ]]; then find_processes; fi
    said=$(<"$work/err")
    if [[ "$said" == *$'\nstep '* ]]; then started=yes; fi
  done
  [[ ${#pids[@]} -eq $ranks ]] || die "${#pids[@]} ranks, must be $ranks"
  for pid in ${old_pids[@]+"${old_pids[@]}"}; do
    if lives "$pid"; then die "rank $pid of the last job is alive still"; fi
  done
  if [[ "$said" == *"passing over"* ]]; then die "something is damaged"; fi
  local from=''
  if [[ "$said" =~ going\ on\ from\ [^,]*/(step_[0-9]*) ]]; then
    from=${BASH_REMATCH[1]}
  fi
  if [[ "$from" < "$survives" ]]; then
    die "went on from '$from' where $survives stood"
  fi
}

# Sets $aim. Some phases are so short that many aims at them come too late: every
# other one is at what was hit least.
choose_aim() {
  local candidate
  aim=${phases[RANDOM % ${#phases[@]}]}
  ((RANDOM % 2)) || return
  for candidate in "${phases[@]}"; do
    if ((${count[$candidate]-0} < ${count[$aim]-0})); then aim=$candidate; fi
  done
}

# Polls until the phase is $1; or, if it does not show itself, a few saves.
await_phase() {
  local wanted=$1 saves=0 before
  look
  before=$newest
  while ((saves < skip + 4)); do
    see
    if [[ $phase == "$wanted" ]] && ((saves >= skip)); then return; fi
    if [[ "$newest" != "$before" ]]; then
      before=$newest
      saves=$((saves + 1))
      lives "$job" || die "the run ended by itself"
    fi
  done
}

# Kills $victim, noting what must survive.
strike() {
  see
  survives=$newest
  kill_victim $victim
}

phases=(start step snapshot write agree manifest rename delete)
declare -A count=() hits=()
victims=(rank all mpirun)
survives=''
for ((kill = 1; kill <= kills; ++kill)); do
  victim=${victims[kill % 3]}
  choose_aim
  skip=$((RANDOM % 3))
  start
  if [[ $aim == start ]]; then
    sleep "0.$((RANDOM % 10))$((RANDOM % 10))"
    find_processes
    while [[ -z "$mpirun" ]]; do find_processes; done
    if [[ ${#pids[@]} -eq 0 ]]; then victim=mpirun; fi
    said=$(<"$work/err")
    if [[ "$said" == *$'\nstep '* ]]; then started=yes; fi
  else
    await_step
    await_phase "$aim"
  fi
  strike
  wait "$job"
  code=$?
  [[ $code -ne 0 ]] || die "the run ended well before it was killed"
  # Of all ranks nothing goes on: what stands is what was cut.
  if [[ $victim == all ]]; then see; fi
  count[$phase]=$((${count[$phase]-0} + 1))
  hits[$victim]=$((${hits[$victim]-0} + 1))
  old_pids=("${pids[@]}")
  job=''
  if ((kill % 100 == 0)); then echo "$kill kills" >&3; fi
done

# A few steps more, then the undisturbed run of as many.
look
newest=${newest#step_}
steps=$((10#${newest:-0} + 10))
start
await_step
wait "$job" || die "the last start ended with code $?"
job=''
(train "$work/calm") || die "the undisturbed run failed: code $?"
expect_calm_end
[[ $(ls "$work/calm/checkpoints") == $(ls "$run/checkpoints") ]] ||
  die "other checkpoints: $(ls "$run/checkpoints")"

in_save=0 rare=''
for phase in "${phases[@]}"; do
  printf '%-9s %4d\n' "$phase" "${count[$phase]-0}" >&3
  if ((100 * ${count[$phase]-0} < 3 * kills)); then rare+=" $phase"; fi
  case $phase in
    start | step) ;;
    *) in_save=$((in_save + ${count[$phase]-0})) ;;
  esac
done
for victim in "${victims[@]}"; do echo "$victim: ${hits[$victim]-0}" >&3; done
echo "$kills kills, $in_save of them inside a save: nothing was lost" >&3
((10 * in_save >= 3 * kills)) || die "fewer than 3 of 10 kills hit a save"
# In few kills chance may pass over a phase.
[[ $kills -lt 1000 || -z "$rare" ]] || die "under 3 % of the kills hit:$rare"
