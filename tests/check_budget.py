#!/usr/bin/env python3
"""check_budget.py [--write]: no test takes five times its budget.

Reads what ctest wrote of its newest runs, short and long, in every build folder
(results*.xml), and tests/budget.txt: a line "SECONDS BUILD TEST" for each test
that takes more than ten seconds on two idle cores; ten seconds is the budget of
every other test. Ends with 1 and a line for each test above five times its
budget. A machine may be busy; a test that grew fivefold is another matter.

--write instead writes budget.txt from the results: run it on an idle machine.
"""

import pathlib
import sys
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUDGETS = ROOT / "tests" / "budget.txt"
BUILDS = {"build": "release", "build-asan": "asan", "build-tsan": "tsan"}
DEFAULT_SECONDS = 10
FACTOR = 5


def read_results():
  """Seconds by (build, test), of all tests that ran."""
  seconds = {}
  for folder, build in BUILDS.items():
    for path in sorted((ROOT / folder).glob("results*.xml")):
      for case in xml.etree.ElementTree.parse(path).iter("testcase"):
        if case.get("status") == "run":
          seconds[build, case.get("name")] = float(case.get("time"))
  return seconds


def read_budgets():
  budgets = {}
  for number, line in enumerate(BUDGETS.read_text().splitlines(), 1):
    words = line.split()
    if not words or words[0].startswith("#"):
      continue
    if len(words) != 3 or not words[0].isdigit():
      sys.exit(f"{BUDGETS}:{number}: must be SECONDS BUILD TEST")
    budgets[words[1], words[2]] = int(words[0])
  return budgets


def write_budgets(results):
  long_ones = sorted(((round(took), *key) for key, took in results.items()
                      if took > DEFAULT_SECONDS), reverse=True)
  with BUDGETS.open("w") as file:
    file.write("# SECONDS BUILD TEST on two idle cores, by check_budget.py "
               "--write.\n")
    for row in long_ones:
      file.write("{} {} {}\n".format(*row))


def main():
  results = read_results()
  if not results:
    sys.exit("check_budget.py: no results: run launch/test.sh first")
  if sys.argv[1:] == ["--write"]:
    write_budgets(results)
    return
  budgets = read_budgets()
  num_above = 0
  for key, took in sorted(results.items(), key=lambda item: -item[1]):
    limit = FACTOR * budgets.get(key, DEFAULT_SECONDS)
    if took > limit:
      num_above += 1
      print(f"{key[1]} ({key[0]}) took {took:.0f} s, must take at most "
            f"{limit} (five times its budget)")
  print(f"{len(results)} tests, {num_above} above five times their budgets")
  sys.exit(1 if num_above else 0)


main()
