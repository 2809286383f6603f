# What scripts learn of a run: its program, its directory, why it failed.
# Sourced; $launch_folder is the folder of this file.

# find_program NAME: NAME without a slash in build/bin beside this folder, in
# bin beside an installed one, else as PATH has it.
find_program() {
  local folder
  if [[ "$1" == */* ]]; then
    echo "$1"
    return
  fi
  for folder in "$launch_folder/../build/bin" "$launch_folder/../../bin" \
    "$launch_folder/../bin"; do
    if [[ -x "$folder/$1" ]]; then
      echo "$folder/$1"
      return
    fi
  done
  echo "$1"
}

# find_run_directory MOE-TRAIN [ARGUMENT ...]: prints the run.directory that it
# would train in; fails with its exit code if it would not. The text is
# Protobuf's, with escapes as in C.
find_run_directory() {
  local config
  config=$("$@" --print-config </dev/null) || return
  config=$(sed -n 's/^  directory: "\(.*\)"$/\1/p;/^}/q' <<<"$config")
  # shellcheck disable=SC2059  # the escapes are to be undone
  printf "${config//%/%%}"
}

# What a rank that outlives another leaves: the cause in the first line, and
# "exit code N, TIME" in the last.
report_path() { echo "$1/failure/lost_rank.txt"; }

# report_identity RUN_DIRECTORY: tells two reports apart; empty without one. Not
# by this machine's clock: another's stamps the file.
report_identity() {
  stat -c '%i %y %s' "$(report_path "$1")" 2>/dev/null
}

# report_cause RUN_DIRECTORY: the report's first line.
report_cause() {
  head -n 1 "$(report_path "$1")" 2>/dev/null
}

# report_code RUN_DIRECTORY: the exit code that the ranks meant.
report_code() {
  LC_ALL=C sed -n '$s/^exit code \([0-9]\{1,3\}\),.*/\1/p' \
    "$(report_path "$1")" 2>/dev/null
}
