#!/usr/bin/env python3
"""Is a checkpoint of ours what transformers thinks it is?

    check_checkpoint.py CHECKPOINT_DIR --logits FILE.safetensors
        [--tokens FILE] [--text FILE.json] [--exported DIR]

Loads the directory as any user would (MixtralForCausalLM.from_pretrained,
AutoTokenizer.from_pretrained) and compares:

  1. Names: no weight missing, unexpected or of another shape, and what was
     loaded is bit for bit what the files hold.
  2. Logits: FILE.safetensors holds "tokens" I32 [B, L] and "logits" F32
     [B, L, V] computed by our program; transformers' float32 logits of the
     same tokens must agree to 1e-5 (norm of the difference over norm), and no
     sequence alone may be 10 times further away. --tokens names another file
     for the tokens: a .json of [[id, ...], ...] or a .safetensors.
  3. Token ids: FILE.json holds [{"text": "...", "ids": [...]}, ...] from our
     tokenizer, without special tokens; AutoTokenizer must give the same ids.
     An item may add "ids_with_special" (as a model's input, <s> included if
     the tokenizer's configuration says so) and "decoded" (text of the ids).
  4. Exported weights: DIR is the checkpoint in bfloat16; transformers loads it
     as such by itself, and every weight is torch's rounding of the float32 one.

Prints one line a check. Exit code 0 if all hold, else 1. Needs
requirements.txt, no network.
"""

import argparse
import json
import pathlib
import sys

import mixtral_peer as peer
import safetensors
import safetensors.torch
import torch
import transformers


class Report:
  """Prints a line a check and remembers whether all held."""

  def __init__(self):
    self.good = True

  def check(self, holds, text):
    self.good = self.good and bool(holds)
    print(("ok    " if holds else "FAIL  ") + text, flush=True)
    return bool(holds)


def shorten(names):
  names = sorted(map(str, names))
  more = f" and {len(names) - 4} more" if len(names) > 4 else ""
  return ", ".join(names[:4]) + more


def read_weights(directory):
  """Every tensor of every .safetensors with weights, by name."""
  tensors = {}
  for path in sorted(directory.glob("model*.safetensors")):
    with safetensors.safe_open(path, framework="pt") as file:
      for name in file.keys():
        if name in tensors:
          raise SystemExit(f"FAIL  {name} is in two files")
        tensors[name] = file.get_tensor(name)
  return tensors


def load(directory, report):
  """Loads the model strictly; None if transformers refuses."""
  try:
    model, facts = transformers.MixtralForCausalLM.from_pretrained(
        directory, dtype=torch.float32, output_loading_info=True,
        local_files_only=True)
  except Exception as error:  # Whatever a user would see.
    report.check(False, f"from_pretrained: {type(error).__name__}: {error}")
    return None
  # missing_keys, unexpected_keys, mismatched_keys, error_msgs, ...
  complaints = {kind: names for kind, names in facts.items() if names}
  report.check(
      not complaints,
      "from_pretrained: every weight found, none unexpected" if not complaints
      else "from_pretrained: " + "; ".join(
          f"{kind}: {shorten(names)}" for kind, names in complaints.items()))
  return model.eval()


def check_weights(directory, model, report):
  """What was loaded is what the files hold, in both directions."""
  stored = read_weights(directory)
  loaded = peer.classic_tensors(
      {n: p.detach() for n, p in model.named_parameters()})
  odd = set(stored) ^ set(loaded)
  if not report.check(
      not odd, f"names: {len(stored)} stored, {len(loaded)} in the model" +
      (f", only on one side: {shorten(odd)}" if odd else "")):
    return
  different = [n for n in stored
               if not torch.equal(stored[n].float(), loaded[n])]
  report.check(not different, "weights: loaded bit for bit" if not different
               else f"weights: loaded otherwise: {shorten(different)}")


def check_exported(directory, exported, report):
  """The bfloat16 directory as transformers loads it, against torch's rounding."""
  model, facts = transformers.MixtralForCausalLM.from_pretrained(
      exported, dtype="auto", output_loading_info=True, local_files_only=True)
  report.check(not any(facts.values()) and model.dtype == torch.bfloat16,
               f"exported: loaded as {model.dtype}, every weight found")
  loaded = peer.classic_tensors(
      {n: p.detach() for n, p in model.named_parameters()})
  stored = read_weights(directory)
  different = [n for n in stored if n not in loaded or
               not torch.equal(stored[n].to(torch.bfloat16), loaded[n])]
  report.check(not different,
               f"exported: {len(stored)} weights rounded as torch does"
               if not different
               else f"exported: rounded otherwise: {shorten(different)}")


def read_tokens(path):
  if path.suffix == ".json":
    return torch.tensor(json.loads(path.read_text()), dtype=torch.int64)
  return safetensors.torch.load_file(path)["tokens"].long()


def check_logits(model, tokens, logits, tolerance, report):
  """Ours [B, L, V] against transformers', as a whole and by sequence."""
  expected = (*tokens.shape, model.config.vocab_size)
  if not report.check(
      tuple(logits.shape) == expected,
      f"logits: shape {tuple(logits.shape)}, must be {expected}"):
    return
  with torch.no_grad():  # One sequence a time: memory, and the same numbers.
    theirs = torch.cat(
        [model(input_ids=row[None], use_cache=False).logits for row in tokens])
  difference = peer.relative_difference(logits, theirs)
  report.check(difference <= tolerance,
               f"logits: difference {difference:.3g}, limit {tolerance:g}")
  worst = max(map(peer.relative_difference, logits, theirs))
  report.check(worst <= 10 * tolerance, "logits: worst sequence's difference "
               f"{worst:.3g}, limit {10 * tolerance:g}")


def check_text(directory, items, report):
  """Our ids against AutoTokenizer's; shows the first text that differs."""
  try:
    tokenizer = transformers.AutoTokenizer.from_pretrained(
        directory, local_files_only=True)
  except Exception as error:
    report.check(False,
                 f"AutoTokenizer: {type(error).__name__}: {error}")
    return
  ways = {
      "ids": lambda item: tokenizer.encode(
          item["text"], add_special_tokens=False),
      "ids_with_special": lambda item: tokenizer.encode(item["text"]),
      "decoded": lambda item: tokenizer.decode(
          item["ids"], skip_special_tokens=True,
          clean_up_tokenization_spaces=False),
  }
  for key, theirs in ways.items():
    present = [item for item in items if key in item]
    wrong = [item for item in present if theirs(item) != item[key]]
    if present or key == "ids":
      report.check(present and not wrong, f"tokenizer: {key} of {len(present)} "
                   f"texts, {len(wrong)} differ")
    if wrong:
      item = min(wrong, key=lambda item: len(item["text"]))
      print(f"      text   {item['text'][:200]!r}\n"
            f"      ours   {item[key][:60]!r}\n"
            f"      theirs {theirs(item)[:60]!r}")


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument("checkpoint", type=pathlib.Path)
  parser.add_argument("--logits", type=pathlib.Path, required=True)
  parser.add_argument("--tokens", type=pathlib.Path)
  parser.add_argument("--text", type=pathlib.Path)
  parser.add_argument("--exported", type=pathlib.Path)
  parser.add_argument("--tolerance", type=float, default=1e-5)
  arguments = parser.parse_args()
  report = Report()
  model = load(arguments.checkpoint, report)
  if model is not None:
    check_weights(arguments.checkpoint, model, report)
    ours = safetensors.torch.load_file(arguments.logits)
    tokens = read_tokens(arguments.tokens or arguments.logits)
    check_logits(model, tokens, ours["logits"], arguments.tolerance, report)
  if arguments.exported:
    check_exported(arguments.checkpoint, arguments.exported, report)
  if arguments.text:
    items = json.loads(arguments.text.read_text(encoding="utf-8"))
    check_text(arguments.checkpoint, items, report)
  return 0 if report.good else 1


if __name__ == "__main__":
  sys.exit(main())
