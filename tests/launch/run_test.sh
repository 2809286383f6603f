#!/usr/bin/env bash
# launch/run.sh: how it ends when ranks end badly, and what it says then; that
# nobody reads its words; and which calls of it are wrong. stop_test has the
# signals that ask for an end, guard_test what is left behind.
#
#     run_test.sh BUILD_DIRECTORY [one]
#
# With `one` it ends after the first lost rank.
set -um  # -m: else what is started in the background ignores INT
# Open MPI unloads plugins whose leaks no list can name; a crash must look as it
# does without the sanitizer.
export ASAN_OPTIONS=detect_leaks=0:handle_segv=0${ASAN_OPTIONS:+:$ASAN_OPTIONS}
build=$(cd "$1" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
source "$(dirname "${BASH_SOURCE[0]}")/small_run.sh"
failures=0

fail() {
  echo "FAIL: $*"
  sed 's/^/  | /' "$work/err" | tail -5
  failures=$((failures + 1))
}

# start LAUNCHER...: an endless run, with $arguments beside, in its second step
# or later when this returns, whose messages go to $err. Sets $job and $ranks.
err=$work/err
arguments=()
start() {
  rm -rf "$run"
  "$@" "$program" "${small_model[@]}" "${arguments[@]}" \
    schedule.steps=1000000 run.directory="$run" >"$work/out" 2>"$err" \
    </dev/null &
  job=$!
  await 120 has_stepped_or_ended || fail "no step"
  mapfile -t ranks < <(find_ranks)
}
has_stepped_or_ended() { [[ -s "$run/metrics.jsonl" ]] || ! lives "$job"; }

# ends CODE TEXT WHAT: how the run does.
ends() {
  local code=$1 text=$2 what=$3 got
  wait "$job"
  got=$?
  [[ $got -eq $code ]] || fail "$what: exit code $got, must be $code"
  grep -qF -- "$text" "$work/err" || fail "$what: no word of '$text'"
  [[ -z $(find_ranks) ]] || fail "$what: ranks stay"
}

run_sh=("$launch/run.sh" -n 3)
alone=(env)

saves() {
  compgen -G "$run/checkpoints/step_*/model*.safetensors" >/dev/null ||
    fail "$1: no weights"
}

# --- nobody reads -----------------------------------------------------------
# A reader of the messages that leaves after the first.
mkfifo "$work/pipe"
err=$work/pipe
for launcher in run_sh alone; do
  declare -n command=$launcher
  head -n 1 "$work/pipe" >"$work/err" &
  start "${command[@]}"
  kill -INT "$job"
  ends 75 "" "$launcher, INT, nobody reads"
  saves "$launcher, INT, nobody reads"
done
err=$work/err
# Both streams in one pipe, in two, and on a disk that is full.
printer=(bash -c 'for i in {1..500}; do echo "$i"; echo "$i" >&2; done; exit 75')
"$launch/run.sh" -n 2 "${printer[@]}" 2>&1 | head -n 1 >/dev/null
[[ ${PIPESTATUS[0]} -eq 75 ]] || fail "nobody reads both: not the ranks' code"
"$launch/run.sh" -n 2 "${printer[@]}" 2>"$work/err" | head -n 1 >/dev/null
[[ ${PIPESTATUS[0]} -eq 75 ]] || fail "nobody reads one: not the ranks' code"
[[ $(wc -l <"$work/err") -eq 1000 ]] || fail "nobody reads one: errors are lost"
"$launch/run.sh" -n 2 "${printer[@]}" >/dev/full 2>&1
[[ $? -eq 75 ]] || fail "a full disk for messages: not the ranks' code"
"$launch/run.sh" -n 2 "${printer[@]}" >"$work/out" 2>&1
[[ $(wc -l <"$work/out") -eq 2000 ]] || fail "messages are lost"

# --- two signals of one moment ----------------------------------------------
start "${run_sh[@]}"
kill -TERM "$job"
kill -INT "$job"
ends 75 "stopping after this step" "TERM and INT at once"
saves "TERM and INT at once"

# --- a rank is lost ---------------------------------------------------------
start "${run_sh[@]}"
kill -KILL "${ranks[1]}"
wait "$job"
[[ $? -eq 71 ]] || fail "a rank killed: exit code is not 71"
if [[ ${2-} == one ]]; then finish; fi
start "${run_sh[@]}"
kill -SEGV "${ranks[1]}"
wait "$job"
[[ $? -eq 70 ]] || fail "a rank crashed: exit code is not 70"

# Without the watchdog the launcher tells, and who waits when its time is over.
arguments=(parallel.watchdog=false parallel.collective_timeout_seconds=10)
start "${run_sh[@]}"
kill -KILL "${ranks[1]}"
ends 71 "run.sh: SIGKILL ended a rank, and with it the run" \
  "a rank killed, no watchdog"
start "${run_sh[@]}"
kill -KILL "$(pgrep -P "$job" -x mpirun)"
ends 71 "run.sh: SIGKILL ended mpirun, and with it the run" \
  "mpirun killed, no watchdog"
start "${run_sh[@]}"
kill -STOP "${ranks[1]}"
ends 71 "did not complete within 10s" "a rank stopped, no watchdog"
arguments=()

# --- what a report of the ranks changes -------------------------------------
# Ranks by the name of moe-train that end as $END says, the lowest having
# reported $REPORT, if any, before it or, if $END is `orphan`, after mpirun. The
# report's own exit code is $MEANT. If $END is `stop`, all but the lowest end as
# asked, which is deaf.
mkdir "$work/bin"
cat >"$work/bin/moe-train" <<'PLAYER'
#!/usr/bin/env bash
for last; do :; done
if [[ "$last" == --print-config ]]; then
  printf 'run {\n  directory: "%s"\n}\n' "${RUN_DIRECTORY//\"/\\\"}"
  exit
fi
mpirun=$PPID
: >"$MOE_READY_FILE"
echo $$ >>"$STARTED"
if [[ $END == stop ]]; then
  if [[ $OMPI_COMM_WORLD_RANK -gt 0 ]]; then
    trap 'exit 75' USR1
  else
    trap '' USR1 TERM
  fi
  while :; do sleep 0.1; done
fi
if [[ $END == orphan ]]; then
  while kill -0 "$mpirun" 2>/dev/null; do sleep 0.1; done
fi
if [[ -n "$REPORT" && $OMPI_COMM_WORLD_RANK -eq 0 ]]; then
  mkdir -p "$RUN_DIRECTORY/failure"
  printf '%s\nsecond line\nexit code %s, now\n' "$REPORT" "$MEANT" \
    >"$RUN_DIRECTORY/failure/new"
  mv "$RUN_DIRECTORY/failure/new" "$RUN_DIRECTORY/failure/lost_rank.txt"
fi
[[ $OMPI_COMM_WORLD_RANK -eq 0 ]] || exec sleep 1000
if [[ $END == SIG* ]]; then kill -"$END" $$; fi
[[ $END == orphan ]] || exit "$END"
PLAYER
chmod +x "$work/bin/moe-train"
export RUN_DIRECTORY=$work/'a "run" of é' STARTED=$work/started END REPORT
export MEANT=71

play() {
  END=$1 REPORT=$2
  : >"$STARTED"
  "$launch/run.sh" -n 2 "$work/bin/moe-train" >"$work/out" 2>"$work/err" \
    </dev/null &
  job=$!
}

# plays END REPORT CODE TEXT: all that is said is TEXT; nothing if it is empty.
plays() {
  local got
  play "$1" "$2"
  wait "$job"
  got=$?
  [[ $got -eq $3 ]] || fail "$1, '$2': exit code $got, must be $3"
  if [[ -z "$4" && -s "$work/err" ]]; then fail "$1, '$2': something is said"; fi
  grep -qF -- "$4" "$work/err" || [[ -z "$4" ]] ||
    fail "$1, '$2': no word of '$4'"
}
plays SIGKILL '' 71 "run.sh: SIGKILL ended a rank"
plays SIGSEGV '' 70 "run.sh: SIGSEGV ended a rank"
plays 1 '' 1 "run.sh: mpirun failed with code 1"
plays 74 '' 74 ''
plays SIGKILL "rank 1 was lost" 71 ''
MEANT=70 plays SIGKILL "rank 1 crashed: SIGSEGV" 70 ''
plays SIGSEGV "rank 1 was lost" 70 ''
plays 1 "rank 1 was lost" 71 ''
plays 74 "rank 1 was lost" 74 ''
plays 1 '' 1 "run.sh: mpirun failed with code 1"  # the report is an old one

have_started() { [[ $(wc -l <"$STARTED") -eq 2 ]]; }
# killed_mpirun REPORT CODE TEXT
killed_mpirun() {
  local got
  play orphan "$1"
  await 60 have_started || fail "ranks do not start"
  kill -KILL "$(pgrep -P "$job" -x mpirun)"
  wait "$job"
  got=$?
  [[ $got -eq $2 ]] || fail "mpirun killed, '$1': exit code $got, must be $2"
  grep -qF -- "$3" "$work/err" || fail "mpirun killed, '$1': no word of '$3'"
}
killed_mpirun '' 71 "run.sh: SIGKILL ended mpirun"
killed_mpirun "rank 0: mpirun is gone" 71 "rank 0: mpirun is gone"
killed_mpirun "rank 0: mpirun is gone" 71 "second line"

# --- a second INT when the ranks are ending already ---------------------------
one_has_ended() {
  [[ $(pgrep -cf "^[^ ]*bash $work/bin/moe-train") -lt 2 ]]
}
play stop ''
await 60 have_started || fail "ranks do not start"
kill -INT "$job"
asked=$SECONDS
await 60 one_has_ended || fail "the first INT ends no rank"
await 60 eval '((SECONDS > asked + 1))'
kill -INT "$job"
wait "$job"
[[ $? -eq 75 ]] || fail "INT twice: exit code is not 75, that of the ranks"

# --- wrong calls ------------------------------------------------------------
"$launch/run.sh" --hostfile "$work/nowhere" -n 2 true \
  >"$work/out" 2>"$work/err" && fail "a missing host file: exit code 0"
[[ $(wc -l <"$work/err") -ge 1 ]] || fail "a missing host file: not a word"
"$launch/run.sh" --nothing-like-this -n 2 true >"$work/out" 2>"$work/err" &&
  fail "an unknown option: exit code 0"
grep -q 'this may say why: mpirun .*--nothing-like-this -n 2 true' "$work/err" ||
  fail "an unknown option: no word of how to learn more"
for number in abc 0 -3 1.5 ''; do
  "$launch/run.sh" -n "$number" true 2>"$work/err"
  [[ $? -eq 64 ]] || fail "-n '$number': exit code is not 64"
  grep -qF -- "-n is '$number', must be a whole number" "$work/err" ||
    fail "-n '$number': not a word of it"
done
env -i "$launch/run.sh" -n 2 true 2>"$work/err" ||
  fail "an empty environment: exit code $?"
"$launch/run.sh" -n 2 2>"$work/err"
[[ $? -eq 64 ]] || fail "no program: exit code is not 64"
"$launch/run.sh" -n 2 nothing-by-this-name 2>"$work/err"
[[ $? -eq 64 ]] || fail "an unknown program: exit code is not 64"

finish
