#!/usr/bin/env bash
# From a bare Debian 12 machine to a trained model and a sample of what it
# learned, in about ten minutes on two cores:
#
#     launch/quickstart.sh [section.key=value ...]
#
# installs what is missing, builds, trains the preset `quickstart` on 16 ranks
# and prints a continuation of a verse. The run lies in runs/quickstart; run
# again, it builds what changed and shows the sample only.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [[ "${1-}" == -h || "${1-}" == --help ]]; then
  sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"
  exit 0
fi

ranks=16
run=runs/quickstart
say() { printf '\n== %s\n' "$*" >&2; }

say "packages"
./launch/setup.sh
say "build"
cmake --preset release >/dev/null
cmake --build --preset release -j "$(nproc)" --target programs

if compgen -G "$run/checkpoints/step_*[0-9]" >/dev/null; then
  say "$run holds a trained model already; remove it to train again"
else
  say "training on $ranks ranks"
  ./launch/run.sh -n "$ranks" moe-train --preset=quickstart "$@"
fi

say "what it learned: a continuation of \"And God said\""
build/bin/moe-generate --checkpoint="$run" --prompt="And God said" \
  --max-tokens=120 --temperature=0.7 --top-p=0.9 --seed=1
