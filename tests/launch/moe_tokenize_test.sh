#!/usr/bin/env bash
# moe-tokenize as a user starts it: results on standard output, one message and
# the right exit code for what goes wrong, one worker under a launcher.
#
#     moe_tokenize_test.sh BUILD_DIRECTORY
set -u
program=$(cd "$1" && pwd)/bin/moe-tokenize
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failures=0

fail() {
  echo "FAIL: $*"
  failures=$((failures + 1))
}

# expect CODE TEXT ARGUMENTS...: nothing on standard output, one message.
expect() {
  local code=$1 text=$2 got
  shift 2
  "$program" "$@" >out 2>err </dev/null
  got=$?
  [[ $got -eq $code ]] || fail "$*: exit code $got, must be $code"
  [[ ! -s out ]] || fail "$*: standard output is not empty"
  [[ $(grep -c '^moe-tokenize: ' err) -eq 1 ]] || fail "$*: not one message"
  grep -qF -- "$text" err || fail "$*: the message lacks '$text': $(cat err)"
}

awk 'BEGIN {
  for (i = 0; i < 4000; ++i)
    print "line " i * 7919 % 4001 " of a text about " i % 13 " things"
}' >text.txt
printf '{"text": "one"}\n{"text": 2}\n' >bad.jsonl

"$program" --help >out || fail "--help fails"
grep -q -- '--vocab-size=N' out || fail "--help lacks a flag"
"$program" --version | grep -q '^moe-tokenize [0-9]' || fail "--version"

"$program" --input=text.txt --output=a --vocab-size=320 >out 2>err ||
  fail "tokenizing fails: $(cat err)"
grep -q '^a.model: 320 pieces$' out || fail "no model: $(cat out)"
grep -q '^a.bin, a.idx: ' out || fail "no tokens: $(cat out)"
"$program" --inspect=a --tokenizer=a.model >out || fail "--inspect fails"
grep -q 'document 0, .*"line 0 of a text' out || fail "no text: $(cat out)"

for workers in 1 5; do
  "$program" --input=text.txt --output=b --tokenizer=a.model \
    --workers=$workers >out 2>err || fail "--workers=$workers fails"
  cmp a.bin b.bin && cmp a.idx b.idx || fail "--workers=$workers differs"
done

"$here/../mpirun.sh" 2 "$program" --input=text.txt --output=c \
  --tokenizer=a.model >out 2>err || fail "it fails under mpirun: $(cat err)"
[[ $(grep -c '^c.bin' out) -eq 1 ]] || fail "not one rank speaks: $(cat out)"
cmp a.bin c.bin || fail "tokens differ under mpirun"

expect 64 "--output is missing" --input=text.txt
expect 64 "did you mean --workers" --input=text.txt --output=x --worker=1
expect 64 "--vocab-size is 100000, must be at most" --input=text.txt --output=x --vocab-size=100000
expect 65 "none.txt" --input=none.txt --output=x --tokenizer=a.model
expect 65 "bad.jsonl" --input=bad.jsonl --output=x --tokenizer=a.model
expect 65 "none.idx" --inspect=none
expect 74 "none/x.bin" --input=text.txt --output=none/x --tokenizer=a.model
compgen -G 'x*' >/dev/null && fail "a failure leaves files: $(echo x*)"

# stops SIGNAL FILE ARGUMENTS...: by a signal that comes once FILE is there.
for _ in {1..400}; do cat text.txt; done >large.txt
stops() {
  local signal=$1 file=$2 job got
  shift 2
  "$program" --input=large.txt --output=s "$@" >out 2>err </dev/null &
  job=$!
  until [[ -e $file ]] || ! kill -0 "$job" 2>/dev/null; do sleep 0.02; done
  kill -"$signal" "$job"
  wait "$job"
  got=$?
  [[ $got -eq 75 ]] || fail "$signal at $file: exit code $got, must be 75"
  [[ ! -s out ]] || fail "$signal at $file: standard output is not empty"
  [[ $(grep -c '^moe-tokenize: ' err) -eq 1 ]] &&
    grep -q "stopped as asked by SIG$signal" err ||
    fail "$signal at $file: not one message: $(cat err)"
  compgen -G 's*' >/dev/null && fail "$signal at $file leaves $(echo s*)"
}
for signal in INT TERM USR1 HUP XCPU; do
  stops $signal s.bin.tmp --tokenizer=a.model --workers=1
done
stops TERM s.model.training --vocab-size=320

[[ $failures -eq 0 ]] && echo "all is as promised"
exit $((failures > 0))
