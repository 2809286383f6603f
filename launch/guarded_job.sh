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

# Copies standard input to standard output, whoever stops reading that: of a pipe
# or terminal nobody will again, a full disk may be emptied.
relay() {
  trap "" HUP INT QUIT TERM USR1 PIPE TSTP TTOU  # Ctrl-Z stops no run
  until cat 2>/dev/null; do
    if [[ ! -f /dev/stdout ]]; then exec cat >/dev/null; fi
  done
}

# After start_guard: sets $job_out and $job_err, to which the job is to write
# what goes to standard output and standard error. An mpirun that cannot write
# there crashes, and the ranks with it.
start_relays() {
  relays=()
  mkfifo "$mark/out"
  relay <"$mark/out" {guard_pipe}>&- &
  relays+=($!)
  exec {job_out}>"$mark/out"
  if [[ /dev/stdout -ef /dev/stderr ]]; then
    exec {job_err}>&"$job_out"
  else
    mkfifo "$mark/err"
    relay <"$mark/err" >&2 {guard_pipe}>&- {job_out}>&- &
    relays+=($!)
    exec {job_err}>"$mark/err"
  fi
}

# After end_guard, when nothing writes any more: until all is passed on, or the
# reader takes nothing for ten seconds.
end_relays() {
  local process now deadline
  seconds_now
  deadline=$((now + 10))
  for process in "${relays[@]}"; do
    while lives "$process" && ((now < deadline)); do
      sleep 0.02
      seconds_now
    done
  done
}

# lives PID: and is no zombie.
lives() {
  local stat
  read -r stat <"/proc/$1/stat" && [[ "${stat##*) }" != Z* ]]
} 2>/dev/null

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
