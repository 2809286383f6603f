#!/usr/bin/env bash
# house_test.sh CHECK SOURCE_DIRECTORY: rules of the whole tree that no compiler
# checks. CHECK is one of the functions below. Prints every violation, and
# fails if there is one.
set -euo pipefail
check=$1
cd "$2"

violations=0
violate() {
  echo "$*"
  violations=$((violations + 1))
}

skip() {
  echo "ALL TESTS SKIPPED: $*"
  exit 0
}

# The files that belong to the project: tracked by git, or in a tree without
# git all that are there.
project_files() {
  if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
    git ls-files --cached --others --exclude-standard -- "$@" |
      while read -r file; do [[ ! -e "$file" ]] || echo "$file"; done
  else
    find "${@%/}" -type f -not -path './.*' | sed 's|^\./||'
  fi
}

sources() {
  project_files comm data moe trainer launch tests |
    grep -E '\.(h|cc|cu|cuh)$'
}

# comm <- {data, moe} <- trainer <- launch; tests may include all. Quoted
# includes are written from the root of the tree.
includes_one_way() {
  declare -A allowed=(
    [comm]="comm"
    [data]="comm data"
    [moe]="comm moe"
    [trainer]="comm data moe trainer"
    [launch]="comm data moe trainer launch"
    [tests]="comm data moe trainer launch tests"
  )
  local outside=' absl gmock gtest google oneapi nlohmann CLI sys '
  local file folder target
  while IFS=: read -r file target; do
    folder=${file%%/*}
    [[ "$outside" != *" ${target%%/*} "* ]] || continue
    [[ " ${allowed[$folder]} " == *" ${target%%/*} "* && "$target" == */* ]] ||
      violate "$file includes $target; $folder/ may include:" \
        "${allowed[$folder]}"
  done < <(sources | xargs -r grep -HE '^[[:space:]]*#[[:space:]]*include "' |
    sed -E 's|^([^:]*):[^"]*"([^"]*)".*|\1:\2|')
}

# Inside a folder a file includes files of its own room and of those before it in
# this list; "." is what lies in the folder itself. comm/README.md and its
# neighbours say what each room holds.
rooms_include_one_way() {
  declare -A rooms=(
    [comm]="base . mpi watch"
    [data]="storage text ."
    [moe]=". cpu parameters layers plan"
    [trainer]="config checkpoint/format checkpoint/store checkpoint/tools step
               plan report generate run"
    [launch]="command bench"
  )
  local file target folder room other allowed
  while IFS=: read -r file target; do
    folder=${file%%/*}
    [[ "${target%%/*}" == "$folder" ]] || continue
    room=$(dirname "${file#"$folder"/}")
    other=$(dirname "${target#"$folder"/}")
    allowed=" $(echo ${rooms[$folder]}) "
    if [[ "$allowed" != *" $room "* ]]; then
      violate "$file: $folder/ has no room $room, only:$allowed"
    else
      allowed="${allowed%% $room *} $room "
      [[ "$allowed" == *" $other "* ]] ||
        violate "$file includes $target; it may include, of $folder/:$allowed"
    fi
  done < <(sources | grep -v '^tests/' |
    xargs -r grep -HE '^[[:space:]]*#[[:space:]]*include "' |
    sed -E 's|^([^:]*):[^"]*"([^"]*)".*|\1:\2|')
}

# Each relative link of a page leads to a file of the tree, and "#heading" to a
# heading of it.
links_lead_somewhere() {
  local page target file heading
  while IFS=$'\t' read -r page target; do
    file=${target%%#*}
    [[ -z "$file" ]] && file=$page || file=$(dirname "$page")/$file
    if [[ ! -e "$file" ]]; then
      violate "$page links to $target, which is not there"
    elif [[ "$target" == *'#'* ]]; then
      heading=${target#*#}
      sed -nE 's/^#+ //p' "$file" | tr 'A-Z ' 'a-z-' | tr -cd 'a-z0-9_\n-' |
        grep -qxF -- "$heading" ||
        violate "$page links to $target, a heading that is not there"
    fi
  done < <(project_files . | grep '\.md$' |
    xargs -r grep -oHE '\]\([^)]+\)' | grep -v '](http' |
    sed -E 's/^([^:]*):\]\(([^)]*)\)$/\1\t\2/')
}

top_level_is_fixed() {
  git rev-parse --is-inside-work-tree >/dev/null 2>&1 ||
    skip "git does not know this tree; it may hold anything beside the project"
  local allowed=" trainer moe comm data launch tests CMakeLists.txt README.md"
  allowed+=" LICENSE CMakePresets.json "
  local entry
  while read -r entry; do
    [[ "$entry" == .* || "$allowed" == *" $entry "* ]] ||
      violate "$entry does not belong at the top level, which holds:$allowed"
  done < <(git ls-files | cut -d/ -f1 | sort -u)
}

is_formatted() {
  command -v clang-format >/dev/null ||
    skip "clang-format is not installed (launch/setup.sh installs it)"
  local file
  while read -r file; do
    violate "$file is not as clang-format leaves it"
  done < <(sources | xargs -r clang-format --dry-run 2>&1 |
    sed -nE 's|^([^:]+):[0-9]+:[0-9]+: .*|\1|p' | sort -u)
}

mains_are_short() {
  local limit=100 file lines
  while read -r file; do
    lines=$(wc -l <"$file")
    [[ "$lines" -lt "$limit" ]] ||
      violate "$file has $lines lines, must have fewer than $limit"
  done < <(project_files launch | grep -E '^launch/[a-z]+/moe_[a-z_]*\.cc$' || true)
}

files_are_short() {
  local limit=400 file lines
  while read -r file; do
    lines=$(wc -l <"$file")
    [[ "$lines" -le "$limit" ]] ||
      violate "$file has $lines lines, must have at most $limit"
  done < <(sources)
}

sources_are_ascii() {
  local place
  while read -r place; do
    violate "$place is not ASCII"
  done < <(sources | LC_ALL=C xargs -r grep -HnoP '[^\x00-\x7F]+' || true)
}

# What waits or measures does so by the clock that nobody sets (see
# comm/base/monotonic_time.h); the other one is for a person, and for a stamp. bash's
# SECONDS is of the latter.
durations_are_monotonic() {
  local place
  while read -r place; do
    case $place in
      trainer/report/lost_rank_report.cc:*FormatTime*absl::Now* | \
        trainer/run/run_directory.cc:*stamp*) ;;
      *) violate "$place is by a clock that can be set" ;;
    esac
  done < <(sources | grep -v '^tests/' | xargs -r grep -HnE \
    -e 'absl::Now\(|GetCurrentTime|system_clock|CLOCK_REALTIME|gettimeofday' \
    -e 'absl::Notification|WithTimeout|WithDeadline|\<time\((NULL|nullptr|0)\)')
  while read -r place; do
    violate "$place is by a clock that can be set"
  done < <(project_files launch | grep -E '\.(sh|sbatch|py)$' |
    xargs -r grep -HnE '\<(SECONDS|EPOCHSECONDS)\>|time\.time\(')
}

"$check"
[[ "$violations" -eq 0 ]] || { echo "$violations violations"; exit 1; }
