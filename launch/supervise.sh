#!/usr/bin/env bash
# Starts a run again when it has fallen, until it is done:
#
#     launch/supervise.sh [options] launch/run.sh -n 16 moe-train [arguments ...]
#
#     --max-restarts=N    restarts in a row without a new checkpoint (10)
#     --first-delay=S     seconds before the first of them (5); each further one
#     --longest-delay=S   waits twice as long, S at most (300)
#
# The command is any that ends in moe-train and its arguments: launch/run.sh,
# mpirun, srun or nothing before it. Each start goes on from the newest
# checkpoint; a new one since the last start makes the count and the delay begin
# anew. A run that fails three times at the same step is not started again: all
# three causes are printed. RUN_DIRECTORY/restarts.jsonl has a line a failure:
# time, attempt, exit_code, step (the last one logged), cause, delay_seconds
# before the next start (null: there is none).
#
# INT, TERM, USR1 and HUP stop the run in order and end this with its code, or
# with 75 between two starts; a second INT or TERM ends it at once. If this
# script is killed, its guard stops the run in order. The run's standard error is
# passed on as it is.
#
# What is done after which exit code:
#
#     0, 75        nothing: the run is done, or was asked to stop
#     64, 65       nothing: the same command would fail the same way
#     70, 71, 74   started again: nodes come back, disks are emptied, and a
#                  defect may need bad luck to show
#     76           started again once a step: a bit that flipped is gone then; the
#                  same step gives the same numbers otherwise
#     69, 1, 255   started again if the run has made a step here: the devices
#                  were there, and mpirun could start; else it is the set-up
#     signals      129, 130, 138, 143 (HUP, INT, USR1, TERM): nothing, somebody
#                  ended the run; others, like KILL: started again
#     others       nothing: they are not moe-train's
#
# The exit code is the run's last; 64 if the options or the command are wrong.
set -u
launch_folder=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
source "$launch_folder/guarded_job.sh"
source "$launch_folder/run_directory.sh"
source "$launch_folder/clock.sh"

usage() {
  sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
}

say() { echo "supervise.sh: $*" >&2; }

refuse() {
  say "$*; see launch/supervise.sh --help"
  exit 64
}

max_restarts=10
first_delay=5
longest_delay=300
while [[ $# -gt 0 && "$1" == -* ]]; do
  case "$1" in
    -h | --help)
      usage
      exit 0
      ;;
    --max-restarts=* | --first-delay=* | --longest-delay=*)
      [[ "${1#*=}" =~ ^[0-9]{1,9}$ ]] || refuse "$1 is not a number"
      name=${1%%=*}
      name=${name#--}
      declare "${name//-/_}=$((10#${1#*=}))"
      ;;
    *) refuse "there is no option $1" ;;
  esac
  shift
done

# The command, with its program where it was found, and what the program is
# called with.
command=("$@")
holds_signals=
program=
for ((i = 0; i < $#; ++i)); do
  case ${command[i]##*/} in
    run.sh) holds_signals=yes ;;
    moe-train)
      program=$(find_program "${command[i]}")
      command[i]=$program
      arguments=("${command[@]:i+1}")
      break
      ;;
  esac
done
[[ -n "$program" ]] || refuse "the command does not start moe-train"
run=$(find_run_directory "$program" ${arguments[@]+"${arguments[@]}"}) || exit
[[ -n "$run" ]] || refuse "the command does not train"
if [[ -z "${MOE_TERMINAL-}" && -t 2 ]]; then export MOE_TERMINAL=1; fi

job=
stopping=
interrupts=0

# launch/run.sh holds a signal until the ranks can handle it, and others do not.
ask_to_stop() {
  local now deadline
  seconds_now
  deadline=$((now + 60))
  until [[ -e "$MOE_READY_FILE" ]] || ((now > deadline)) ||
    ! kill -0 "$job" 2>/dev/null; do
    sleep 0.1
    seconds_now
  done
  kill -USR1 "$job" 2>/dev/null
}
on_stop() {
  stopping=yes
  if [[ -n "$job" ]]; then ask_to_stop {guard_pipe}>&- & fi
}
on_interrupt() {
  stopping=yes
  if is_same_interrupt; then return; fi
  interrupts=$((interrupts + 1))
  [[ -n "$job" ]] || return
  if [[ $interrupts -gt 1 || -n "$holds_signals" ]]; then
    kill -TERM "$job" 2>/dev/null  # run.sh counts, as we do, and says it
  else
    on_stop
    say "stopping after this step; once more to stop at once"
  fi
}
trap on_interrupt INT TERM
trap on_stop USR1 HUP
trap : PIPE
trap '' XFSZ  # a limit of file sizes is an error, here and in all below

# Copies standard input, unchanged, to standard error, and at its end prints the
# last thing that was said of an error.
pass_on() {
  trap '' INT QUIT TERM HUP USR1
  tee -p /dev/fd/3 3>&1 >&2 | tr '\r' '\n' | LC_ALL=C awk '
    { sub(/^.*\033\[K/, "") }
    /^moe-train: / && !/^moe-train: warning: / { program = $0 }
    /^run\.sh: / { launcher = $0 }
    END { print program != "" ? program : launcher }'
}

# Sets $job_code, and $last_words of its standard error.
run_once() {
  local words
  make_mark || exit 74  # mktemp has said why
  export MOE_READY_FILE=$mark/ready
  if [[ -n "$holds_signals" ]]; then : >"$MOE_READY_FILE"; fi
  mkfifo "$mark/errors"
  exec {words}< <(pass_on <"$mark/errors")
  start_guard
  if [[ -z "$stopping" ]]; then
    start_job "${command[@]}" 2>"$mark/errors" {words}<&-
    # It was not there to be told.
    if [[ -n "$stopping" ]]; then ask_to_stop {guard_pipe}>&- & fi
    await_job
    job=
  else
    job_code=75 job_was_killed=
    : >"$mark/errors"
  fi
  end_guard
  read -r -t 30 last_words <&"$words"
  exec {words}<&-
}

newest_checkpoint() {
  local path name newest=0
  for path in "$run"/checkpoints/step_*; do
    name=${path##*/step_}
    if [[ $name =~ ^[0-9]+$ ]] && ((10#$name > newest)); then
      newest=$((10#$name))
    fi
  done
  echo "$newest"
}

# The last line may be torn, and any may be of somebody else.
last_logged_step() {
  tail -n 100 "$run/metrics.jsonl" 2>/dev/null |
    LC_ALL=C sed -n 's/^{"step":\([1-9][0-9]\{0,17\}\),.*}$/\1/p' | tail -n 1
}

metrics_identity() { stat -c '%i %y %s' "$run/metrics.jsonl" 2>/dev/null; }

# Of any bytes; what is no UTF-8 is left out.
json_string() {
  local LC_ALL=C text=$1
  text=${text//\\/\\\\}
  text=${text//\"/\\\"}
  printf '"%s"' "$text" | tr '\000-\037\177' ' ' | iconv -c -f UTF-8 -t UTF-8
}

# Prints the lines of restarts.jsonl that are ours and whole, or with -v the
# others; a word of a later version may stand behind ours. Further options are
# grep's.
text='"([^"\[:cntrl:]]|\\.)*"'
log_line='^\{"time":"[-0-9TZ:]+","attempt":[0-9]+,"exit_code":[0-9]+,"step":[0-9]+'
log_line+=",\"cause\":$text,\"delay_seconds\":([0-9]+|null)"
log_line+="(,$text:($text|[-+.0-9eE]+|null|true|false))*}\$"
find_lines() { LC_ALL=C.UTF-8 grep -aE "$@" -e "$log_line" "$run/restarts.jsonl"; }

# A line that a machine left unfinished when it fell, or that is somebody else's,
# costs itself alone: it is kept aside, as those of metrics.jsonl are. An
# unfinished last one would take the next with it.
set_broken_lines_aside() {
  local log=$run/restarts.jsonl number first
  [[ -s "$log" ]] || return 0
  number=$(find_lines -vc)
  if ((number == 0)); then
    if [[ "$(tail -c 1 "$log" | od -An -tx1)" != " 0a" ]]; then echo >>"$log"; fi
    return
  fi
  first=$(find_lines -vn | head -n 1 | cut -d : -f 1)
  find_lines -v >>"$log.rejected" || return
  find_lines >"$log.tmp"
  [[ $? -le 1 ]] && mv "$log.tmp" "$log" &&  # 1: there is none
    say "$log holds $number lines that are no restart, first line $first;" \
      "moved to $log.rejected"
}

# log DELAY
log() {
  mkdir -p "$run" && set_broken_lines_aside &&
    printf '{"time":"%s","attempt":%d,"exit_code":%d,"step":%d,"cause":%s,"delay_seconds":%s}\n' \
      "$(date -u +%FT%TZ)" "$attempt" "$job_code" "$step" \
      "$(json_string "$cause")" "$1" >>"$run/restarts.jsonl"
}

# Whether a run that ended with $job_code may do better next time.
may_recover() {
  case $job_code in
    70 | 71 | 74 | 76) ;;
    69 | 1 | 255) [[ -n "$has_trained" ]] ;;
    129 | 130 | 138 | 143) false ;;
    *) ((job_code > 128 && job_code <= 192)) ;;
  esac
}

# One start and what came of it: $job_code, $step, $cause, and the counts since
# the newest checkpoint: $restarts, and the failures at a step.
attempt_run() {
  local checkpoint metrics report
  checkpoint=$(newest_checkpoint)
  metrics=$(metrics_identity)
  report=$(report_identity "$run")
  attempt=$((attempt + 1))
  run_once
  step=$checkpoint
  if [[ "$(metrics_identity)" != "$metrics" ]]; then
    step=$(last_logged_step)
    step=${step:-0}
  fi
  if ((step > checkpoint)); then has_trained=yes; fi
  if [[ "$(report_identity "$run")" != "$report" ]]; then
    cause=$(report_cause "$run")
  elif [[ -n "$job_was_killed" ]]; then
    cause="SIG$(kill -l $((job_code - 128))) ended ${command[0]##*/}"
  else
    cause=${last_words:-"exit code $job_code"}
  fi
  if (($(newest_checkpoint) > checkpoint)); then
    restarts=0
    failures=() causes=()
  fi
}

# counted NUMBER NOUN: "1 restart", "2 restarts".
counted() {
  if [[ $1 -eq 1 ]]; then echo "1 $2"; else echo "$1 $2s"; fi
}

# How far the run had come, by what it logged.
place() {
  if [[ $step -gt 0 ]]; then
    echo "at step $step"
  else
    echo "before a step was logged"
  fi
}

# Why there is no further start after this failure; nothing if there is one.
reason_to_end() {
  local same=3
  # From the same state the same numbers come.
  if [[ $job_code -eq 76 ]]; then same=2; fi
  if ! may_recover; then
    echo "exit code $job_code: starting again would not help"
  elif ((failures[step] >= same)); then
    echo "${failures[step]} failures $(place), for these causes:" \
      "${causes[step]}"
  elif ((restarts >= max_restarts)); then
    echo "$(counted "$restarts" restart) without a new checkpoint," \
      "the last because of:" \
      "$cause"
  fi
}

# So many seconds, in which a signal is noticed.
pause() {
  local now deadline
  seconds_now
  deadline=$((now + $1))
  while [[ -z "$stopping" ]] && ((now < deadline)); do
    sleep 1 &
    wait $!
    seconds_now
  done
}

attempt=0
restarts=0
has_trained=
failures=() causes=()
while :; do
  attempt_run
  if [[ $job_code -eq 0 || $job_code -eq 75 || -n "$stopping" ]]; then
    exit "$job_code"
  fi
  failures[step]=$((${failures[step]-0} + 1))
  causes[step]+=$'\n'"  $cause"
  reason=$(reason_to_end)
  if [[ -n "$reason" ]]; then
    log null
    say "not started again: $reason"
    exit "$job_code"
  fi
  restarts=$((restarts + 1))
  delay=$((first_delay << (restarts - 1 < 30 ? restarts - 1 : 30)))
  if ((delay > longest_delay)); then delay=$longest_delay; fi
  log "$delay"
  say "code $job_code $(place); starting again in $delay s"
  pause "$delay"
  if [[ -n "$stopping" ]]; then exit 75; fi
done
