#!/usr/bin/env bash
# A run that is killed ten times and goes on each time with another number of
# ranks, or split otherwise, trains on the sequences of one that nobody touched:
# every step once, each on what the seed's order of samples gives it.
#
#     moved_run_test.sh BUILD_DIRECTORY [SEED]
set -u
build=$(cd "$1" && pwd)
RANDOM=${2-1}
work=$(mktemp -d)
source "$(dirname "${BASH_SOURCE[0]}")/killed_run.sh"
run=$work/moved
# While it is killed, more than it can use up; the rate is constant, so that how
# long the run is changes none of its numbers.
steps=100000
job='' mpirun=''
pids=()

leave() {
  if [[ -n "$job" ]]; then kill -9 "$mpirun" "${pids[@]}"; fi
  wait
  rm -rf "$work"
} 2>/dev/null
trap leave EXIT

# train DIRECTORY RANKS TENSOR: becomes the run. 16 ranks have fewer sequences
# than ranks, and the passes over the data end within a batch.
train() {
  exec "$launch/run.sh" -n "$2" "${launcher_directory[@]}" \
    "$program" "${small_model[@]}" \
    batch.global_size=10 batch.micro_size=2 schedule.steps=$steps \
    schedule.warmup_steps=1 schedule.decay=CONSTANT \
    checkpoint.interval_steps=3 checkpoint.keep=2 parallel.tensor="$3" \
    run.directory="$1" \
    >"$work/out" 2>"$work/err" </dev/null
}

lines() {
  if [[ -e "$run/metrics.jsonl" ]]; then wc -l <"$run/metrics.jsonl"; else echo 0; fi
}

# Returns nine steps or a few more after where the run began to write: two saves
# have begun, so that one is whole.
await_steps() {
  local pid
  until grep -q '^step ' "$work/err"; do
    kill -0 "$job" || die "leg $leg ended at its start"
    sleep 0.02
  done
  mpirun=$(pgrep -P "$job" -x mpirun)
  mapfile -t pids < <(pgrep -P "$mpirun" -x moe-train)
  [[ ${#pids[@]} -eq $ranks ]] || die "${#pids[@]} ranks, must be $ranks"
  local target=$(($(grep -m1 -o '^step [0-9]*' "$work/err" | cut -c 6-) + 9 +
    RANDOM % 4))
  until [[ $(lines) -ge $target ]]; do
    kill -0 "$job" || die "leg $leg ended by itself"
    sleep 0.02
  done
}

# The step and its digest, of each line.
digests() {
  sed 's/.*"step":\([0-9]*\),.*"batch_digest":"\([0-9a-f]*\)".*/\1 \2/' \
    "$1/metrics.jsonl"
}

# Ranks and tensor, one leg each; the last is not killed.
legs=("4 1" "16 1" "1 1" "16 2" "4 2" "1 1" "16 1" "4 1" "1 1" "16 2" "4 2")
victims=(rank all mpirun)
before=''
for ((leg = 0; leg < ${#legs[@]}; ++leg)); do
  read -r ranks tensor <<<"${legs[leg]}"
  if ((leg + 1 == ${#legs[@]})); then steps=$(($(lines) + 10)); fi
  : >"$work/err"  # of the leg before: it must not be taken for this one's
  train "$run" "$ranks" "$tensor" &
  job=$!
  if ((leg + 1 < ${#legs[@]})); then
    await_steps
    kill_victim "${victims[leg % 3]}"
    wait "$job" && die "leg $leg ended well before it was killed"
  else
    wait "$job" || die "the last leg ended with code $?"
  fi
  job=''
  if [[ -n "$before" ]]; then
    grep -q "^going on from .*, written by $before" "$work/err" ||
      die "leg $leg did not go on from $before"
  fi
  before="$ranks rank.*(tensor $tensor,"
done

(train "$work/calm" 1 1) || die "the undisturbed run failed: code $?"
diff <(digests "$work/calm") <(digests "$run") >&3 ||
  die "the moved run was trained on other sequences"
diff <("$build/tests/print_batch_digests" "$run" $steps) <(digests "$run") >&3 ||
  die "the sequences are not those of the sampler"
distinct=$(digests "$run" | cut -d' ' -f2 | sort -u | wc -l)
[[ $distinct -eq $steps ]] || die "$distinct digests of $steps steps"
echo "$((${#legs[@]} - 1)) kills, $steps steps on 1, 4 and 16 ranks:" \
  "each step once, on its own sequences" >&3
