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
# saved, exit code 75. A second INT ends at once. A signal that comes before
# the ranks can handle it is held until they can. A terminal that closes (HUP)
# asks as USR1 does; nohup keeps the run going.
#
# The exit code is that of the ranks; 71 if one was killed, 70 if one crashed.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

usage() {
  sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
}

find_program() {
  local folder
  if [[ "$1" == */* ]]; then
    echo "$1"
    return
  fi
  for folder in "$here/../build/bin" "$here/../../bin" "$here/../bin"; do
    if [[ -x "$folder/$1" ]]; then
      echo "$folder/$1"
      return
    fi
  done
  echo "$1"
}

# Options of mpirun that stand alone; all others are taken to have a value.
is_flag() {
  case "$1" in
    -q | --quiet | --oversubscribe | --tag-output | --report-bindings | -v) ;;
    *) return 1 ;;
  esac
}

options=()
while [[ $# -gt 0 && "$1" == -* ]]; do
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
      options+=("$1")
      if ! is_flag "$1" && [[ "$1" != *=* && $# -gt 1 ]]; then
        options+=("$2")
        shift
      fi
      shift
      ;;
  esac
done
if [[ $# -eq 0 ]]; then
  echo "run.sh: no program was named; see launch/run.sh --help" >&2
  exit 64
fi
program=$(find_program "$1")
shift
if ! command -v mpirun >/dev/null; then
  echo "run.sh: mpirun was not found; ./launch/setup.sh installs it" >&2
  exit 69
fi
if ! command -v "$program" >/dev/null; then
  echo "run.sh: $program was not found; is it built?" >&2
  exit 64
fi

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
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export MOE_READY_FILE=$folder/ready

# Once the ranks can handle it, or at once if they are gone.
ask_to_stop() {
  until [[ -e "$MOE_READY_FILE" ]] || ! kill -0 "$job" 2>/dev/null; do
    sleep 0.1
  done
  kill -USR1 "$job" 2>/dev/null
}

job=
pending=
interrupts=0
on_stop() {
  if [[ -z "$job" ]]; then pending=yes; else ask_to_stop & fi
}
on_interrupt() {
  interrupts=$((interrupts + 1))
  if [[ $interrupts -gt 1 && -n "$job" ]]; then
    kill -TERM "$job" 2>/dev/null
  else
    on_stop
    echo "run.sh: stopping after this step; once more to stop at once" >&2
  fi
}
trap on_interrupt INT TERM
trap on_stop USR1 HUP
trap : PIPE  # Ctrl-C ends a tee behind us too, and our words must not end us

# Ends with the ranks' code. Of a signal that ended one, mpirun makes 128 and its
# number, of trouble of its own 1 or 255, and -q keeps it from saying more.
leave() {
  local code=$1 signal
  if [[ $code -eq 1 || $code -eq 255 ]] && [[ $interrupts -eq 0 ]]; then
    echo "run.sh: mpirun failed with code $code; without -q it may say why" >&2
  elif [[ $code -gt 128 && $code -le 192 ]]; then
    signal=SIG$(kill -l $((code - 128)))
    echo "run.sh: $signal ended a rank or mpirun, and with it the run" >&2
    case $signal in
      SIGILL | SIGABRT | SIGBUS | SIGFPE | SIGSEGV) code=70 ;;
      *) code=71 ;;
    esac
  fi
  exit "$code"
}

# A session of its own: the terminal's Ctrl-C must not reach mpirun, which
# would kill its ranks before they have saved.
setsid mpirun -q --bind-to none -x MOE_TERMINAL -x MOE_READY_FILE \
  ${options[@]+"${options[@]}"} "$program" "$@" <&0 &
job=$!
if [[ -n "$pending" ]]; then ask_to_stop & fi
# A signal of ours ends a wait early; once the job is gone, it does not.
while kill -0 "$job" 2>/dev/null; do wait "$job"; done
wait "$job"
leave $?
