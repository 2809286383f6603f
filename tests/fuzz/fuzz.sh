#!/usr/bin/env bash
# Fuzzes the readers, each for a time of a processor (what a busy machine does
# besides does not count), as many at once as there are cores:
#
#     tests/fuzz/fuzz.sh BUILD_DIRECTORY [SECONDS [TARGET ...]]
#
# BUILD_DIRECTORY is one of `cmake --preset fuzz`; SECONDS: 600; TARGET: all. A
# line for each that is done; a target's whole output is BUILD_DIRECTORY/fuzz/
# TARGET.log, what it learned BUILD_DIRECTORY/fuzz/TARGET. Fails if any found
# something, which then lies beside the log.
set -u
build=$(cd "$1" && pwd)
seconds=${2-600}
shift $(($# < 2 ? $# : 2))
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
targets=("$@")
if [[ $# -eq 0 ]]; then
  for path in "$here"/*_fuzz.cc; do
    path=${path##*/}
    targets+=("${path%_fuzz.cc}")
  done
fi

# processor_seconds PID: what it has used, nothing if it is gone.
processor_seconds() {
  local stat fields
  read -r stat <"/proc/$1/stat" || return
  read -r -a fields <<<"${stat##*) }"
  echo $(((fields[11] + fields[12]) / $(getconf CLK_TCK)))
} 2>/dev/null

# fuzz TARGET: until its time is used up, or something is found.
fuzz() {
  local target=$1 folder=$build/fuzz/$1 log=$build/fuzz/$1.log
  local used last=0 fuzzer code
  mkdir -p "$folder"
  "$build/tests/${target}_fuzz" -artifact_prefix="$build/fuzz/$target-" \
    -timeout=60 -print_final_stats=1 "$folder" "$here/seeds/$target" \
    >"$log" 2>&1 </dev/null &
  fuzzer=$!
  trap 'kill "$fuzzer"; exit 1' TERM
  while used=$(processor_seconds "$fuzzer"); [[ -n "$used" ]]; do
    if [[ $used -ge $seconds ]]; then kill -USR1 "$fuzzer"; fi
    last=$used
    sleep 1
  done
  wait "$fuzzer"
  code=$?
  echo "$target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" \
    "executions in $last s of a processor, exit code $code"
  return "$code"
}

trap 'kill $(jobs -p); exit 1' INT TERM
failed=0
running=0
for target in "${targets[@]}"; do
  if ((running == $(nproc))); then
    wait -n || failed=1
    running=$((running - 1))
  fi
  fuzz "$target" &
  running=$((running + 1))
done
while ((running > 0)); do
  wait -n || failed=1
  running=$((running - 1))
done
exit "$failed"
