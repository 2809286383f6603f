# For scripts that start a job and must not leave it behind, whatever ends them.
# Sourced; $launch_folder is the folder of this file.

# make_mark: sets $mark to a new folder of this job alone, for launch/guard.sh.
make_mark() {
  mark=$(mktemp -d "${TMPDIR:-/tmp}/moe-run.XXXXXX")
}

# start_guard [FOLDER ...]: launch/guard.sh for the job to come; it removes
# $mark and the FOLDERs. Whatever is started while it runs and may outlive this
# script needs {guard_pipe}>&-.
start_guard() {
  exec {guard_pipe}> >(
    exec env MOE_GUARD=1 setsid "$launch_folder/guard.sh" "$mark" "$@" \
      >/dev/null
  )
  guard=$!
}

# start_job COMMAND...: sets $job. A session of its own: the terminal's Ctrl-C
# must reach this script only. What a shell starts in the background ignores
# INT; a job must not.
start_job() {
  (
    trap - INT QUIT
    echo "$BASHPID" >&"$guard_pipe"
    exec env MOE_JOB="$mark" setsid "$@" {guard_pipe}>&-
  ) <&0 &
  job=$!
}

# Sets $job_code, and $job_was_killed, whether a signal ended the job itself
# rather than processes of it that it tells of: both make 128 and its number,
# but only of the first bash says a line. Long before the end, $mark may have been
# swept away with old temporary files.
await_job() {
  local said
  exec {said}>"$mark/said"
  # A signal of ours ends a wait early; once the job is gone, it does not.
  while kill -0 "$job" 2>/dev/null; do wait "$job" 2>&"$said"; done
  wait "$job" 2>&"$said"
  job_code=$?
  job_was_killed=
  if [[ -s /dev/fd/$said ]]; then job_was_killed=yes; fi
  exec {said}>&-
}

# After await_job: until nothing of the job is left on this machine.
end_guard() {
  exec {guard_pipe}>&-
  while kill -0 "$guard" 2>/dev/null; do wait "$guard"; done
  if [[ -e "$mark" ]]; then  # it was killed
    "$launch_folder/guard.sh" "$mark" "$@" </dev/null >/dev/null
  fi
}
