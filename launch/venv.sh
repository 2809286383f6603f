#!/usr/bin/env bash
# Makes .venv, a virtual environment with the pinned torch and transformers of
# tests/peers/requirements.txt, unless it is there already, and prints its
# python. Takes minutes and 6 GB the first time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=$PWD/.venv/bin/python
if ! cmp -s tests/peers/requirements.txt .venv/requirements.txt; then
  echo "venv.sh: making .venv with torch and transformers" >&2
  rm -rf .venv
  python3 -m venv .venv
  "$python" -m pip install -q -r tests/peers/requirements.txt >&2
  cp tests/peers/requirements.txt .venv/requirements.txt
fi
echo "$python"
