# Sourced by tests that kill a small run again and again: small_run.sh, and what
# they have in common. $kill and $seed, if they are set, are said where it fails.
source "$(dirname "${BASH_SOURCE[0]}")/small_run.sh"

exec 3>&1
exec 2>"$work/bash"  # where bash tells of children that were killed

# What Open MPI leaves behind of jobs that were killed.
mkdir "$work/launcher"
launcher_directory=(--mca btl_vader_backing_directory "$work/launcher"
  --mca orte_tmpdir_base "$work/launcher")

die() {
  echo "FAIL: ${kill:+kill $kill (seed $seed): }$*"
  tail -5 "$work/err" | cut -c 1-300
  exit 1
} >&3

# kill_victim VICTIM: a rank, all ranks ($pids) or $mpirun.
kill_victim() {
  case $1 in
    rank) kill -KILL "${pids[RANDOM % ${#pids[@]}]}" ;;
    all) kill -KILL "${pids[@]}" ;;
    mpirun) kill -KILL "$mpirun" ;;
  esac
}

# Fails unless the run ends as that of $work/calm, which nobody touched, after
# $steps steps: its last checkpoint byte for byte, and every step once, of the
# same sequences and with the same numbers.
expect_calm_end() {
  local last file name
  last=checkpoints/$(printf 'step_%08d' "$steps")
  for file in "$work/calm/$last"/*; do
    name=${file##*/}
    [[ $name == train_config.textproto || $name == manifest.textproto ]] ||
      cmp "$file" "$run/$last/$name" >&3 || die "$name is not the same"
  done
  [[ $(numbers "$run" | wc -l) -eq $steps ]] ||
    die "metrics.jsonl: not $steps lines"
  diff <(numbers "$work/calm") <(numbers "$run") >&3 ||
    die "metrics.jsonl differs"
}
numbers() { cut -d, -f1-8 "$1/metrics.jsonl"; }
