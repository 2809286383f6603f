#!/usr/bin/env python3
"""What transformers computes of tests/launch/foreign_checkpoints.py.

    foreign_losses.py --check | --write

Loads each directory as a user would and takes the mean cross-entropy of the
tokens, in float32. Compares tests/golden/foreign_losses.json to 1e-5, or
writes it. Needs requirements.txt, no network.
"""

import json
import pathlib
import sys
import tempfile

import torch
import transformers

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "launch"))
import foreign_checkpoints as foreign  # noqa: E402

GOLDEN = HERE.parent / "golden" / "foreign_losses.json"


def loss(directory, tokens):
  model = transformers.AutoModelForCausalLM.from_pretrained(
      directory, dtype=torch.float32, attn_implementation="eager",
      local_files_only=True).eval()
  length = foreign.LENGTH
  count = (len(tokens) - 1) // length
  rows = torch.tensor(tokens[:count * length]).view(count, length)
  targets = torch.tensor(tokens[1:count * length + 1])
  with torch.no_grad():
    logits = torch.cat([model(input_ids=row[None]).logits[0] for row in rows])
  return torch.nn.functional.cross_entropy(logits.double(), targets).item()


def main():
  transformers.logging.set_verbosity_error()
  with tempfile.TemporaryDirectory() as work:
    root = pathlib.Path(work)
    tokens = foreign.write_tokens(root / "tokens")
    losses = {}
    for name, variant in foreign.ACCEPTED.items():
      variant.write(root / name)
      losses[name] = loss(root / name, tokens)
  if sys.argv[1:] == ["--write"]:
    GOLDEN.write_text(json.dumps(losses, indent=1) + "\n")
    return 0
  golden = json.loads(GOLDEN.read_text())
  wrong = [name for name in golden.keys() | losses.keys()
           if not abs(golden.get(name, 0) - losses.get(name, 0)) <= 1e-5]
  for name in sorted(wrong):
    print(f"FAIL: {name}: transformers has {losses.get(name)}, "
          f"{GOLDEN.name} {golden.get(name)}")
  print(f"{len(losses)} checkpoints, {len(wrong)} differ")
  return 1 if wrong else 0


if __name__ == "__main__":
  sys.exit(main())
