#!/usr/bin/env python3
"""Writes golden/tokenizer/: files of our tokenizer and what they mean.

    make_tokenizer_golden.py CHECKPOINT_DIR

Copies the tokenizer's four files from a checkpoint that was trained with
data.add_bos=true, loads them as any user would (AutoTokenizer), and writes
texts.json: for each text the ids without and with special tokens and the text
that they decode to. Needs ../peers/requirements.txt, no network.
"""

import json
import pathlib
import shutil
import sys

import transformers

FILES = ("tokenizer.model", "tokenizer.json", "tokenizer_config.json",
         "special_tokens_map.json")

TEXTS = (
    "", " ", "a", " a", "  a  ", "Hello world", "Hello  two   spaces",
    " \n a", "line\nline\n\nline\r\n", "\ttab", "2024 1,000.50",
    "To be, or not to be: that is the question.",
    "caf\u00e9 na\u00efve e\u0301", "\u05e9\u05dc\u05d5\u05dd",
    "\u6f22\u5b57\u304b\u306a", "\U0001f917 \U0001f468\u200d\U0001f469",
    "\ufffd\u00a0\u3000x", "<0x41> <un k>", "a" * 100, " " * 40 + "x",
    "kalomu'inder \"the\" --\u2014 end", "\x00\x01\x7f",
)


def main():
  source = pathlib.Path(sys.argv[1])
  target = pathlib.Path(__file__).parent / "tokenizer"
  target.mkdir(exist_ok=True)
  for name in FILES:
    shutil.copyfile(source / name, target / name)
  tokenizer = transformers.AutoTokenizer.from_pretrained(
      target, local_files_only=True)
  items = []
  for text in TEXTS:
    ids = tokenizer.encode(text, add_special_tokens=False)
    items.append({
        "text": text, "ids": ids, "ids_with_special": tokenizer.encode(text),
        "decoded": tokenizer.decode(ids, skip_special_tokens=True)})
  lines = ",\n".join(json.dumps(item) for item in items)
  (target / "texts.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
  main()
