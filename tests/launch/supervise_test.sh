#!/usr/bin/env bash
# launch/supervise.sh: after which ends it starts a run again, how long it waits,
# when it gives up, what it writes down, and how it is stopped.
#
#     supervise_test.sh BUILD_DIRECTORY [one]
#
# With `one` it restarts one run.
#
# Most runs are played by a script by the name of moe-train: each start takes
# the next line of $work/plan, "CODE STEP CHECKPOINT MESSAGE", which is how it
# ends, the last step that it logs, and a checkpoint that it makes (0: none). It
# waits to be stopped if the message is `wait`, or `wait and stay`: a process of
# it lives on then.
set -um  # -m: else what is started in the background ignores INT
build=$(cd "$1" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
source "$(dirname "${BASH_SOURCE[0]}")/small_run.sh"
mkdir "$work/tmp" "$work/bin"
export TMPDIR=$work/tmp
failures=0

cat >"$work/bin/moe-train" <<'PLAYER'
#!/usr/bin/env bash
for last; do :; done
run=${RUN_DIRECTORY}
if [[ "$last" == --print-config ]]; then
  [[ "$1" != --bad ]] || { echo "moe-train: bad" >&2; exit 64; }
  printf 'run {\n  directory: "%s"\n  seed: 1\n}\n' "$run"
  exit
fi
mkdir -p "$run/checkpoints" "$run/failure"
read -r code step checkpoint message <"$PLAN"
sed -i 1d "$PLAN"
echo start >>"$run/starts"
printf '{"step":%d,"tokens":1}\n' "$step" >>"$run/metrics.jsonl"
if [[ $checkpoint != 0 ]]; then
  mkdir "$run/checkpoints/step_$(printf %08d "$checkpoint")"
fi
case $message in
  report:*)
    printf '%s\nmore\n' "${message#report:}" >"$run/failure/new"
    mv "$run/failure/new" "$run/failure/lost_rank.txt"
    ;;
  # What a machine that fell leaves, and a word in Latin-1.
  torn)
    printf '\xff\xfe\x00\n{"step":9{"step":8,\n{"ste\n' >>"$run/metrics.jsonl"
    printf 'moe-train: caf\xe9\n' >&2
    ;;
  # The same, between whole lines: binary, joined and somebody else's.
  tear)
    printf '\xff\xfe\x00\n{"time":"20{"time":"21"}\nsomebody\n[1]\n' \
      >>"$run/restarts.jsonl"
    head -n 1 "$run/restarts.jsonl" | sed 's/}$/,"color":"red"}/' \
      >>"$run/restarts.jsonl"
    printf '{"time":"20' >>"$run/restarts.jsonl"
    ;;
  wait*)
    sleep 1000 >/dev/null 2>&1 &
    sleeper=$!
    trap '[[ "$message" != wait ]] || kill "$sleeper"; exit 75' USR1
    : >"$MOE_READY_FILE"
    echo "$sleeper" >"$run/sleeper"
    wait
    ;;
  ?*) echo "moe-train: $message" >&2 ;;
esac
if [[ $code -gt 128 ]]; then kill -$((code - 128)) $$; fi
exit "$code"
PLAYER
chmod +x "$work/bin/moe-train"
export PLAN=$work/plan RUN_DIRECTORY=$run

fail() {
  echo "FAIL: $what: $*"
  tail -5 "$work/err" | cut -c 1-300 | sed 's/^/  | /'
  failures=$((failures + 1))
}

# supervise OPTION... -- WORD...: plays $plan.
supervise() {
  rm -rf "$run"
  printf '%s\n' "${plan[@]}" >"$PLAN"
  "$launch/supervise.sh" "$@" >"$work/out" 2>"$work/err" </dev/null
}

starts() {
  if [[ -e "$run/starts" ]]; then wc -l <"$run/starts"; else echo 0; fi
}

# plays WHAT CODE STARTS OPTION...: $plan ends with the code after that many
# starts of it.
plays() {
  local code=$2 number=$3 got
  what=$1
  shift 3
  supervise --first-delay=0 "$@" "$work/bin/moe-train"
  got=$?
  [[ $got -eq $code ]] || fail "exit code $got, must be $code"
  [[ $(starts) -eq $number ]] || fail "$(starts) starts, must be $number"
  [[ -z $(ls -A "$TMPDIR") ]] || fail "$(ls "$TMPDIR") stays"
}

says() { grep -qF -- "$1" "$work/err" || fail "no word of '$1'"; }

# logs KEY VALUE...: of each line of restarts.jsonl in turn.
logs() {
  local key=$1 got
  shift
  got=$(python3 -c "
import json, sys
print(*[json.loads(line)['$key'] for line in open(sys.argv[1])])" \
    "$run/restarts.jsonl" 2>&1)
  [[ "$got" == "$*" ]] || fail "restarts.jsonl: $key is $got, must be $*"
}

# --- which codes ------------------------------------------------------------
if [[ ${2-} == one ]]; then
  plan=("70 5 0" "0 6 0")
  plays "code 70" 0 2
  finish
fi
for code in 0 64 65 75 2 127 129 130 138 143; do
  plan=("$code 5 0" "0 6 0")
  plays "code $code" "$code" 1
done
for code in 70 71 74 76 134 137 139; do
  plan=("$code 5 0" "0 6 0")
  plays "code $code" 0 2
  logs exit_code "$code"
done
for code in 69 1 255; do
  plan=("$code 0 0" "0 6 0")
  plays "code $code before a step" "$code" 1
  logs delay_seconds None
  plan=("$code 5 0" "0 6 0")
  plays "code $code after a step" 0 2
done

# --- the same step ----------------------------------------------------------
plan=("71 5 0 first" "71 7 0 other" "70 5 0 second" "71 5 0 third" "0 9 0")
plays "thrice the same step" 71 4
for cause in "3 failures at step 5" first second third; do says "$cause"; done
if grep -q "^  moe-train: other" "$work/err"; then
  fail "the cause of another step's failure is among them"
fi
logs step 5 7 5 5
says "code 71 at step 5; starting again in 0 s"
plan=("71 0 0" "71 0 0" "71 0 0" "0 9 0")
plays "thrice before a step" 71 3
says "code 71 before a step was logged; starting again in 0 s"
says "3 failures before a step was logged"
plan=("76 5 0 first" "76 5 0 second" "0 9 0")
plays "not finite twice" 76 2
plan=("71 5 0" "71 5 0" "71 5 4" "71 5 0" "71 5 0" "0 9 0")
plays "thrice the same step, with a checkpoint" 71 5

# --- limits and delays ------------------------------------------------------
plan=("71 1 0" "71 2 0" "71 3 0" "71 4 0" "0 9 0")
plays "more than --max-restarts" 71 3 --max-restarts=2
says "2 restarts without a new checkpoint, the last because of: "
logs delay_seconds 0 0 None
plan=("71 1 0" "71 2 0" "71 3 2" "71 4 0" "0 9 0")
plays "progress among failures" 0 5 --max-restarts=2
plan=("71 1 0" "71 2 0" "0 9 0")
plays "one restart" 71 2 --max-restarts=1
says "1 restart without a new checkpoint"
plan=("71 1 0" "0 9 0")
plays "no restarts" 71 1 --max-restarts=0
plan=("71 1 0" "71 2 0" "71 3 2" "71 4 0" "0 9 0")
plays "delays" 0 5 --first-delay=1 --longest-delay=1
logs delay_seconds 1 1 1 1
# The delays that nobody wants to wait for are cut by the signal below.

# --- causes -----------------------------------------------------------------
plan=("71 1 0 report:rank 3 was \"lost\"" "71 2 0 a \\ b" "137 3 0" "0 9 0")
plays "causes" 0 4
logs cause 'rank 3 was "lost" moe-train: a \ b SIGKILL ended moe-train'
logs attempt 1 2 3
logs exit_code 71 71 137
plan=("71 1 0 one" "0 9 0 two")
plays "standard error" 0 2
says "moe-train: one"
says "moe-train: two"

# --- broken lines -----------------------------------------------------------
plan=("71 5 0 torn" "71 7 0 tear" "71 8 0" "0 9 0")
plays "broken lines" 0 4
logs step 5 5 7 8
logs cause moe-train: caf moe-train: caf exit code 71 exit code 71
says "restarts.jsonl holds 5 lines that are no restart, first line 2; moved to"
printf '\xff\xfe\x00\n{"time":"20{"time":"21"}\nsomebody\n[1]\n{"time":"20\n' |
  cmp - "$run/restarts.jsonl.rejected" || fail "restarts.jsonl.rejected"

# --- usage ------------------------------------------------------------------
# refuses TEXT WORD...: with 64.
refuses() {
  local text=$1
  shift
  what=$*
  plan=("0 9 0")
  supervise "$@"
  [[ $? -eq 64 ]] || fail "exit code is not 64"
  says "$text"
  [[ $(starts) -eq 0 ]] || fail "has started something"
}
refuses "does not start moe-train"
refuses "does not start moe-train" true
refuses "--max-restarts=x is not a number" --max-restarts=x moe-train
refuses "no option --nothing" --nothing moe-train
refuses "moe-train: bad" "$work/bin/moe-train" --bad
"$launch/supervise.sh" --help | grep -q -- --max-restarts ||
  fail "--help: not a word of --max-restarts"

# --- stopping ---------------------------------------------------------------
# begin: sets $job, a supervised run that waits.
begin() {
  rm -rf "$run"
  printf '%s\n' "${plan[@]}" >"$PLAN"
  "$launch/supervise.sh" --first-delay="${1-0}" "$work/bin/moe-train" \
    >"$work/out" 2>"$work/err" </dev/null &
  job=$!
}
is_waiting() { [[ -s "$run/sleeper" ]]; }
is_pausing() { grep -q "starting again in" "$work/err"; }
is_over() { ! lives "$job"; }
tmp_is_empty() { [[ -z $(ls -A "$TMPDIR") ]]; }

# ends CODE
ends() {
  await 60 is_over || fail "does not end"
  wait "$job"
  local got=$?
  [[ $got -eq $1 ]] || fail "exit code $got, must be $1"
  await 60 tmp_is_empty || fail "$(ls "$TMPDIR") stays"
}
for signal in INT TERM USR1 HUP; do
  what="$signal to a run"
  plan=("0 5 0 wait" "0 6 0")
  begin
  await 60 is_waiting || fail "does not start"
  kill -$signal "$job"
  ends 75
  [[ $(starts) -eq 1 ]] || fail "started again"
  what="$signal in a pause"
  plan=("71 5 0" "0 6 0")
  begin 300
  await 60 is_pausing || fail "does not pause"
  logs delay_seconds 300
  kill -$signal "$job"
  ends 75
done
what="KILL"
plan=("0 5 0 wait and stay" "0 6 0")
begin
await 60 is_waiting || fail "does not start"
kill -KILL "$job"
ends 137 2>/dev/null  # bash tells of it
[[ $(starts) -eq 1 ]] || fail "started again"
if lives "$(cat "$run/sleeper")"; then fail "a process stays"; fi

finish
