#!/usr/bin/env bash
# process_state_test.sh LIBRARY...: the mutable state that a process has one of,
# as the symbol tables of the production libraries show it. Prints every one
# that is not in the list below and every line of the list that nothing is
# behind, and fails if there is one. A new line needs a reason why no object can
# own the state.
set -euo pipefail

command -v nm >/dev/null || { echo "ALL TESTS SKIPPED: there is no nm"; exit 0; }

# Object file, name without namespace and arguments, reason.
allowed=(
  # What a signal handler or a failing operator new must reach: neither is given
  # an argument.
  "stop_signal.cc stop_signal_received: set by the handler"
  "stack_trace.cc crash_descriptor: written to by the handler"
  "stack_trace.cc crash_frames: filled by the handler"
  "stack_trace.cc crash_signal: set by the handler"
  "stack_trace.cc crash_was_told: awaited by the handler"
  "stack_trace.cc has_main_thread: whether there is main_thread"
  "stack_trace.cc main_frames: filled by the handler"
  "stack_trace.cc main_thread: whom the signal for a stack is sent to"
  "stack_trace.cc signal_stack: the handler's own stack"
  "refused_memory.cc ending: taken by the first thread that is refused memory"
  "refused_memory.cc ends_the_process: of each thread, the one that ends it"
  "refused_memory.cc first_removal: what is removed then"
  "refused_memory.cc goes_on: of each thread, the watchdog's"
  "refused_memory.cc program_name: for the message"
  "refused_memory.cc removals_mutex: of first_removal"
  "refused_memory.cc reserve: memory for that moment"
  # Told of the process as a whole.
  "activity.cc TheRecord::record: the watchdog's record of what the process does"
  "buffer.cc GetTally::tally: counts what all Buffers hold"
  "lock_file.cc OwnPath::number: no two lock files of a process have one name"
  "trace.cc TheTrace::trace: events of the thread that trains, off as a rule"
  # Without state of their own, or never changed once they are made.
  "checkpoint_command.cc Actions::kActions: a constant"
  "device_context.cc CpuContext::context: the host as a device"
  "posix_file_system.cc PosixFileSystem::files: the system's files"
  "round_row.cc cpu::RoundRow::has_instruction: a fact of the processor"
)

# Names that the compiler makes, and what belongs to libraries.
not_ours='^(guard variable|vtable|VTT|typeinfo|DW\.ref|construction vtable'
not_ours+='|std::|asio::|CLI::|absl::|google::|nlohmann::|testing::|dnnl::)'

# "OBJECT NAME" of each variable that can be written to.
variables() {
  nm --demangle --print-file-name --format=sysv "$@" |
    awk -F'|' '
      $NF ~ /^ *\.(bss|data|tbss|tdata)/ && $NF !~ /^ *\.data\.rel\.ro/ {
        split($1, path, /\.o:/)
        object = path[1]
        sub(/.*[\/:]/, "", object)
        name = substr($1, length(path[1]) + 4)
        sub(/ +$/, "", name)
        print object " " name
      }' |
    awk '$1 !~ /\.pb\.cc$/' |
    sed -E 's/\(anonymous namespace\):://g; :a; s/\([^()]*\)( const)?//; ta' |
    while read -r object name; do
      [[ "$name" == .* || "$name" =~ $not_ours ]] ||
        echo "$object ${name#moe::}"
    done | sort -u
}

violations=0
found=$(variables "$@")
[[ -n "$found" ]] || { echo "nm shows no variable in $*"; exit 1; }
listed=$(printf '%s\n' "${allowed[@]}" | sed 's/: .*//' | sort -u)
while read -r variable; do
  [[ -n "$variable" ]] || continue
  echo "$variable is mutable state of the process that no list allows"
  violations=$((violations + 1))
done < <(comm -23 <(echo "$found") <(echo "$listed"))
while read -r variable; do
  [[ -n "$variable" ]] || continue
  echo "$variable is in the list, but in no library"
  violations=$((violations + 1))
done < <(comm -13 <(echo "$found") <(echo "$listed"))
[[ $violations -eq 0 ]] || { echo "$violations violations"; exit 1; }
echo "$(wc -l <<<"$listed") variables, each with its reason"
