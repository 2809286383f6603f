#!/usr/bin/env bash
# Compares the speed of training with that of Hugging Face transformers, its
# strongest form, on this machine: in turns, several rounds, medians.
#
#     launch/compare-with-transformers.sh [--rows=NAME,...] [--quick] [--json]
#         [--rounds=N] [--seconds=S] [--build=DIRECTORY] [--against=DIRECTORY]
#         [--tiny] [--list-rows]
#
#   --rows       rows of the table, also patterns: 'e8-*,jobs-f32' (default: all)
#   --list-rows  their names
#   --rounds     of each measurement (default: 5)
#   --seconds    of each side in a round (default: 8)
#   --quick      2 rounds of 3 seconds
#   --json       one JSON object a line of the table, as soon as it is known
#   --build      what to measure, built already (default: build/, built first)
#   --against    another build to compare with, in place of transformers: rows
#                e8-*, e64-* and ranks-*, which must reach 0.99 of it
#   --tiny       models that are done at once, to try this script; the ratios
#                mean nothing
#
# e8-*, e64-*: a whole step on one thread, over transformers; memory, and shares
# of the peak and of routing. ranks-*: 2 ranks, over transformers on 2 threads.
# jobs-*: 2 ranks over two jobs of one rank at once. threads-*: 1 rank of 2
# threads over 2 ranks. experts-*, memory-*, skew-*: what moe-bench compares
# alone. Wants 2 cores without other work and 16 GB of memory (memory-*: seven
# arrays of four times the last cache); all rows take about an hour.
# transformers is installed into .venv unless MOE_PEERS_PYTHON names a python
# that has it.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

build=
against=
words=()
# directory OPTION PATH: its absolute path.
directory() {
  if ! (cd "$2" 2>/dev/null && pwd); then
    echo "compare: $1 is '$2', which is no directory" >&2
    exit 64
  fi
}
while [[ $# -gt 0 ]]; do
  case "$1" in
    -h | --help)
      sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
      exit 0
      ;;
    --build=*) build=$(directory --build "${1#*=}") ;;
    --against=*)
      against=$(directory --against "${1#*=}")
      words+=("--against=$against")
      ;;
    *) words+=("$1") ;;
  esac
  shift
done

if [[ -z "$build" ]]; then
  "$root/launch/setup.sh"
  build=$root/build
  (cd "$root" && cmake --preset release >/dev/null &&
    cmake --build --preset release -j "$(nproc)" \
      --target moe-bench moe-train >&2)
fi
python=${MOE_PEERS_PYTHON-}
if [[ -n "$against" ]]; then python=${python:-python3}; fi  # no torch needed
if [[ -z "$python" ]]; then python=$("$root/launch/venv.sh"); fi
exec "$python" "$root/launch/compare_with_transformers.py" --build="$build" \
  ${words[@]+"${words[@]}"}
