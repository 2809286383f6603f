#!/usr/bin/env bash
# Ends and clears away a job whose starter may be killed at any moment:
#
#     launch/guard.sh MARK [FOLDER ...] <PIPE
#
# launch/run.sh and launch/supervise.sh start it, in a session of its own, at
# the end of a pipe whose other end they alone hold open. The job's process id
# comes through it; its end says that the job is over, or that its starter was
# killed. A job that lives on then, which nobody could stop any more, is asked
# to end in order (USR1), and after MOE_STOP_SECONDS (1800) is ended (TERM).
#
# Then the job's processes on this machine have 15 seconds to be gone, those that
# remain are killed, and MARK, the FOLDERs and what a killed mpirun leaves on
# this machine are removed. A process is the job's if MOE_JOB was MARK when it
# started. MARK is a folder of this job alone, in which the job makes a file
# `ready` once it handles signals.
#
# It also ends an mpirun that has locked itself up.
set -u
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/clock.sh"
mark=$1
shift
folders=("$mark" "$@")
stop_seconds=${MOE_STOP_SECONDS:-1800}
dying_seconds=15
ready_seconds=60
locked_seconds=15
start_seconds=45

say() { echo "guard.sh: $*" >&2; }

# Not a zombie, and not another process of the same number: those have no such
# environment.
is_ours() {
  [[ -n "$1" ]] && grep -qszxF "MOE_JOB=$mark" "/proc/$1/environ"
}

# is_guard PID: a guard of the job's own jobs, which needs its own time.
is_guard() {
  grep -qsz '^MOE_GUARD=' "/proc/$1/environ"
}

find_processes() {
  grep -lszxF "MOE_JOB=$mark" /proc/[0-9]*/environ | cut -d/ -f3
}

# await TIME COMMAND...: until the command fails; fails if it does not within so
# many seconds.
await() {
  local now deadline
  seconds_now
  deadline=$((now + $1))
  shift
  while "$@"; do
    seconds_now
    ((now < deadline)) || return
    sleep 0.1
  done
}

has_no_handlers() {
  [[ ! -e "$mark/ready" ]] && is_ours "$job"
}

end_job() {
  say "the script that held the job was killed; asking the job to stop"
  await "$ready_seconds" has_no_handlers
  kill -USR1 "$job" 2>/dev/null
  await "$stop_seconds" is_ours "$job" && return
  say "the job has not ended in $stop_seconds seconds; ending it"
  kill -TERM "$job" 2>/dev/null
}

# Sets $others, the job's processes, without the guards among them, and fails
# if there is none of either.
others_live() {
  local pid all=()
  mapfile -t all < <(find_processes)
  others=()
  for pid in ${all[@]+"${all[@]}"}; do
    is_guard "$pid" || others+=("$pid")
  done
  [[ ${#all[@]} -gt 0 ]]
}

end_others() {
  await "$dying_seconds" others_live && return
  if [[ ${#others[@]} -gt 0 ]]; then
    say "killing what outlived the job: processes ${others[*]}"
    kill -KILL "${others[@]}" 2>/dev/null
  fi
  await $((stop_seconds + 2 * dying_seconds)) others_live &&
    return
  say "these processes cannot be killed: ${others[*]-}"
}

# Sets $children, those of the job, and fails if all of them are zombies, or
# there are none.
children_live() {
  local child stat
  children=''
  [[ -r "/proc/$job/task/$job/children" ]] || return 0  # nobody can tell
  read -r children <"/proc/$job/task/$job/children"
  for child in $children; do
    read -r stat <"/proc/$child/stat" || continue
    [[ "${stat##*) }" == Z* ]] || return 0
  done
  return 1
} 2>/dev/null

# Open MPI 4.1.4 loses a lock when a rank dies while it connects to mpirun: with
# its ranks gone mpirun then waits for itself for ever. Call it now and then.
end_if_locked() {
  local name='' children now
  seconds_now
  read -r name 2>/dev/null <"/proc/$job/comm"
  if [[ "$name" != mpirun ]] || children_live; then
    last_seen=$now
  elif [[ -n "$children" ]] && ((last_seen > now)); then
    last_seen=$now
  elif ((now - last_seen > locked_seconds)) && is_ours "$job"; then
    say "mpirun has not ended in $locked_seconds seconds after its last rank;" \
      "killing it"
    kill -KILL "$job"
  fi
}

# Files and shared memory of an mpirun that could not remove them itself, by the
# names of Open MPI 4.1; launch/run.sh has them in MARK and a FOLDER where it can.
remove_session() {
  local owner=${HOSTNAME%%.*}.$EUID top file number
  [[ -n "$job" && ! -e "/proc/$job" ]] || return
  top=${OMPI_MCA_orte_tmpdir_base:-${TMPDIR:-${TEMP:-${TMP:-/tmp}}}}/ompi.$owner
  for file in "$top/pid.$job"/pmix_dstor_*/smdataseg-*; do
    number=${file##*/smdataseg-}
    number=${number%%-*}
    [[ "$number" =~ ^[0-9]+$ ]] || continue
    rm -f "/dev/shm/vader_segment.$owner.$(printf %x "$number")".*
  done
  rm -rf "$top/pid.$job"
  rmdir "$top" 2>/dev/null  # other jobs may have it
}

# Returns at the end of the pipe.
hold() {
  local word status last_seen now
  while :; do
    read -r -t 2 word
    status=$?
    if [[ $status -eq 0 ]]; then
      job=$word
      seconds_now
      last_seen=$((now + start_seconds))  # if it never has children
    elif [[ $status -gt 128 ]]; then
      [[ -z "$job" ]] || end_if_locked
    else
      return
    fi
  done
}

main() {
  trap '' HUP INT TERM USR1 USR2 PIPE
  local job='' others=()
  hold
  if is_ours "$job"; then end_job; fi
  end_others
  remove_session
  rm -rf "${folders[@]}"
  exit
}
main
