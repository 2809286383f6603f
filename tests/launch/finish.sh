# Sourced by tests that count their $failures.

# finish: ends the test.
finish() {
  if [[ $failures -gt 0 ]]; then
    echo "$failures failed"
    exit 1
  fi
  echo "all passed"
  exit
}
