#!/usr/bin/env bash
# Starts ranks on this machine or on what the scheduler gave:
#
#     launch/run.sh [-n RANKS] [mpirun options ...] moe-train [arguments ...]
#
# mpirun with what these programs need: more ranks than cores are allowed and
# yield while they wait, no rank is bound to one core, root may run it (as in a
# container). A program without a slash is looked for in build/bin beside this
# folder, in bin beside an installed one, then in PATH.
#
# INT (Ctrl-C), TERM and USR1 ask for an orderly end: the step ends and all is
# saved, exit code 75. A second INT or TERM ends at once. A signal that comes
# before the ranks can handle it is held until they can. A terminal that closes
# (HUP) asks as USR1 does; nohup keeps the run going. If this script is killed,
# its guard asks for the same.
#
# Whoever reads what is said may leave (| head, a terminal that closes): the run
# goes on.
#
# Whatever ends a job, no process, shared memory or temporary file of it stays
# behind on this machine.
#
# The exit code is that of the ranks; 71 if one was lost, 70 if one crashed.
set -u
launch_folder=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
source "$launch_folder/guarded_job.sh"
source "$launch_folder/run_directory.sh"
source "$launch_folder/clock.sh"
seconds_now
started=$now

usage() {
  sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
}

say() { echo "run.sh: $*" >&2; }

# Once the ranks can handle it, or at once if they are gone. Of a rank 0 on
# another machine nobody learns, nor once a folder for temporary files has been
# swept: after a minute, or ten, it can.
ask_to_stop() {
  local limit=60 now=$started
  if [[ -n "$alone" ]]; then limit=600; fi
  until [[ -e "$MOE_READY_FILE" ]] || ! kill -0 "$job" 2>/dev/null ||
    ((now > started + limit)); do
    sleep 0.1
    seconds_now
  done
  kill -USR1 "$job" 2>/dev/null
}

job=
pending=
interrupts=0
on_stop() {
  if [[ -z "$job" ]]; then pending=yes; else ask_to_stop {guard_pipe}>&- & fi
}
# Ranks that are gone need nothing, and mpirun, which is ending then, crashes if
# it is told to end.
end_at_once() {
  local ranks=''
  if [[ -n "$alone" && -e "$MOE_READY_FILE" ]]; then
    read -r ranks <"/proc/$job/task/$job/children"
    kill -KILL $ranks
  else
    kill -TERM "$job"
  fi
} 2>/dev/null
on_interrupt() {
  if is_same_interrupt; then return; fi
  interrupts=$((interrupts + 1))
  if [[ $interrupts -gt 1 && -n "$job" ]]; then
    say "ending at once"
    end_at_once
  else
    on_stop
    say "stopping after this step; once more to stop at once"
  fi
}

# Where a host is lost, mpirun waits for its daemon there until TCP gives up, a
# quarter of an hour. The ranks that are left have told and ended long before.
end_after_report() {
  local until= now
  while kill -0 "$job"; do
    seconds_now
    if [[ -z "$until" && "$(report_identity "$run")" != "$old_report" ]]; then
      until=$((now + 20))
    elif [[ -n "$until" ]] && ((now > until)); then
      kill -KILL "$job"
      return 1
    fi
    sleep 1
  done
  return 0
} >/dev/null 2>&1

trap on_interrupt INT TERM
trap on_stop USR1 HUP
trap : PIPE  # Ctrl-C ends a tee behind us too, and our words must not end us
trap '' XFSZ  # a limit of file sizes is an error, here and in all below

# Options of mpirun that stand alone; all others are taken to have a value, if a
# word follows that can be one.
is_flag() {
  case "$1" in
    -q | --quiet | --oversubscribe | --tag-output | --report-bindings | -v) ;;
    *) return 1 ;;
  esac
}

# Whether an option, with its value, says which machines to use.
names_machines() {
  case "$1" in
    -H | -rf | -host* | --host* | -machinefile* | --machinefile* | -rankfile* | \
      --rankfile* | -default-hostfile* | --default-hostfile*) ;;
    --mca) [[ "${2-}" == *hostfile ]] ;;
    *) return 1 ;;
  esac
}

# Of an option and the word behind it, if that says how many ranks.
check_ranks() {
  case "$1" in
    -n | -np | -c | --n | --np)
      if [[ ! "$2" =~ ^0*[1-9][0-9]*$ ]]; then
        say "$1 is '$2', must be a whole number of at least 1"
        exit 64
      fi
      ;;
  esac
}

options=()
machines=
while [[ $# -gt 0 && "$1" == -* ]]; do
  if names_machines "$@"; then machines=named; fi
  case "$1" in
    -h | --help)
      usage
      exit 0
      ;;
    --mca)
      options+=("$1" "${2-}" "${3-}")
      shift $(($# < 3 ? $# : 3))
      ;;
    *)
      check_ranks "$1" "${2-}"
      options+=("$1")
      if ! is_flag "$1" && [[ "$1" != *=* && $# -gt 1 && "$2" != -* ]]; then
        options+=("$2")
        shift
      fi
      shift
      ;;
  esac
done
if [[ $# -eq 0 ]]; then
  say "no program was named; see launch/run.sh --help"
  exit 64
fi
program=$(find_program "$1")
shift
if ! command -v mpirun >/dev/null; then
  say "mpirun was not found; ./launch/setup.sh installs it"
  exit 69
fi
if ! command -v "$program" >/dev/null; then
  say "$program was not found; is it built?"
  exit 64
fi
# Open MPI's shared memory is files, of mpirun and of its ranks. Ranks that find
# none die while they connect to mpirun, which then waits for them for ever.
least_blocks=20480  # KiB: a segment of 16 MiB, and what Open MPI adds
blocks=$(ulimit -f)
if [[ $blocks != unlimited ]] && ((blocks < least_blocks)); then
  say "files may have $blocks KiB (ulimit -f), must be allowed at least" \
    "$least_blocks: Open MPI's shared memory is files"
  exit 74
fi
trains=
if [[ ${program##*/} == moe-train ]]; then trains=yes; fi
run=
if [[ -n "$trains" ]]; then
  run=$(find_run_directory "$program" "$@" 2>/dev/null)
fi

# Neither a scheduler nor a list of hosts says that other machines take part.
is_on_this_machine() {
  [[ -z "$machines${SLURM_JOB_ID-}${PBS_JOBID-}${LSB_JOBID-}${PE_HOSTFILE-}" &&
    -z "${OMPI_MCA_orte_default_hostfile-}" ]] &&
    ! grep -qs '^[^#]*[^#[:space:]]' /etc/openmpi/openmpi-default-hostfile &&
    ! grep -qs '^[^#]*hostfile' /etc/openmpi/openmpi-mca-params.conf \
      "${HOME-}/.openmpi/mca-params.conf"
}

# Sets Open MPI's parameters, $alone (no other machine takes part), and folders
# of this job: $mark, and $shared_memory if there can be one.
prepare() {
  export PATH  # bash has one, also where the environment had none
  if [[ $(id -u) -eq 0 ]]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  fi
  export OMPI_MCA_rmaps_base_oversubscribe=${OMPI_MCA_rmaps_base_oversubscribe-1}
  export OMPI_MCA_mpi_yield_when_idle=${OMPI_MCA_mpi_yield_when_idle-1}
  if [[ -z "${MOE_TERMINAL-}" ]]; then
    if [[ -t 2 ]]; then MOE_TERMINAL=1; else MOE_TERMINAL=0; fi
  fi
  export MOE_TERMINAL
  make_mark || exit 74  # mktemp has said why
  export MOE_READY_FILE=$mark/ready
  if [[ -z "$trains" ]]; then : >"$MOE_READY_FILE"; fi
  alone='' shared_memory=''
  is_on_this_machine || return
  alone=yes
  export OMPI_MCA_orte_tmpdir_base=${OMPI_MCA_orte_tmpdir_base-$mark}
  if mkdir "/dev/shm/${mark##*/}" 2>/dev/null; then
    shared_memory=/dev/shm/${mark##*/}
    export OMPI_MCA_btl_vader_backing_directory=${OMPI_MCA_btl_vader_backing_directory-$shared_memory}
  fi
}

# Ends with the ranks' code, having said what mpirun -q keeps to itself. Of a
# signal that ended a rank mpirun makes 128 and its number; of trouble of its
# own 1 or 255, also when the ranks have reported theirs.
leave() {
  local code=$job_code signal='' report='' victim="a rank"
  if [[ $code -gt 128 && $code -le 192 ]]; then
    signal=SIG$(kill -l $((code - 128)))
  elif [[ $code -ne 1 && $code -ne 255 ]]; then
    exit "$code"
  fi
  if [[ $interrupts -gt 1 ]]; then exit 1; fi
  if [[ -n "$run" && "$(report_identity "$run")" != "$old_report" ]]; then
    report=$(report_path "$run")
  fi
  if [[ -n "$job_was_killed" ]]; then victim=mpirun; fi
  if [[ -n "$report" ]]; then
    code=$(report_code "$run")
    code=${code:-71}
    # Else the ranks have said it.
    if [[ -n "$job_was_killed" && -z "$was_ended" ]]; then
      head -n 20 "$report" >&2
    fi
  elif [[ -n "$signal" ]]; then
    code=71
    say "$signal ended $victim, and with it the run"
  else
    local hint=(mpirun --oversubscribe)
    if [[ $(id -u) -eq 0 ]]; then hint+=(--allow-run-as-root); fi
    say "mpirun failed with code $code; this may say why:" \
      "${hint[*]} ${options[*]-} true"
  fi
  case $signal in
    SIGILL | SIGABRT | SIGBUS | SIGFPE | SIGSEGV) code=70 ;;
  esac
  exit "$code"
}

prepare
old_report=$(if [[ -n "$run" ]]; then report_identity "$run"; fi)
start_guard ${shared_memory:+"$shared_memory"}
start_relays
start_job mpirun -q --bind-to none -x MOE_TERMINAL -x MOE_READY_FILE \
  ${options[@]+"${options[@]}"} "$program" "$@" \
  >&"$job_out" 2>&"$job_err" {job_out}>&- {job_err}>&-
exec {job_out}>&- {job_err}>&-
if [[ -n "$pending" ]]; then ask_to_stop {guard_pipe}>&- & fi
watcher='' was_ended=''
if [[ -z "$alone" && -n "$run" ]]; then
  end_after_report {guard_pipe}>&- &
  watcher=$!
fi
await_job
if [[ -n "$watcher" ]]; then
  while kill -0 "$watcher" 2>/dev/null; do wait "$watcher"; done
  wait "$watcher"
  if [[ $? -eq 1 ]]; then
    was_ended=yes
    say "mpirun has not ended after the report; it was killed"
  fi
fi
end_guard ${shared_memory:+"$shared_memory"}
end_relays
leave
