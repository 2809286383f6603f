#!/usr/bin/env bash
# Every test case of a build, one a line and sorted, to see that a change of the
# tests drops none:
#
#     diff <(tests/list_cases.sh BUILD_BEFORE) <(tests/list_cases.sh BUILD_AFTER)
#
# A case of GoogleTest is "rank count, suite, name", whichever program holds it
# and whichever entry of ctest runs it; any other entry of ctest is its name.
set -euo pipefail
build=$(cd "$1" && pwd)
# Open MPI refuses root unless told twice.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

# names PROGRAM [FILTER]: its cases.
names() {
  "$1" --gtest_list_tests ${2+"$2"} |
    awk '/^[^ ]/ { suite = $1 } /^  / { print suite $1 }'
}

ctest --test-dir "$build" --show-only=json-v1 | python3 -c '
import json, sys
for test in json.load(sys.stdin)["tests"]:
  environment = [word for property in test.get("properties", [])
                 if property["name"] == "ENVIRONMENT" for word in property["value"]
                 if not word.startswith("OMP_")]
  print(test["name"], ",".join(environment) or "-", *test.get("command", []))' |
  while read -r name environment command arguments; do
    ranks=1
    program=$command
    if [[ "$command" == */mpirun.sh ]]; then
      read -r ranks program arguments <<<"$arguments"
    fi
    if [[ "$program" == "$build"/tests/*_test ]]; then
      filter=$(grep -o -- '--gtest_filter=[^ ]*' <<<"$arguments" || true)
      names "$program" ${filter:+"$filter"} </dev/null |
        sed "s/^/$ranks $environment /"
    else
      echo "$name"
    fi
  done | sort
