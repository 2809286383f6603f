#!/usr/bin/env python3
"""Writes golden/tokenizer/ and golden/tokenizers/: our exports and their ids.

    make_tokenizer_golden.py DUMP_TOKENIZER [--check] [--models]

tokenizer/ has the files of one model as a checkpoint has them and texts.json:
for each text the ids without and with special tokens and the text that they
decode to, by AutoTokenizer. tokenizers/ has models with each of the features
that an export must say, and golden.json: of each the FNV-1a digest of
tokenizer.json, and the ids of texts, on which sentencepiece, tokenizers and
AutoTokenizer must agree. --check writes nothing and fails if anything would
change; --models trains the models of tokenizers/ anew first. Needs
../peers/requirements.txt, no network.
"""

import argparse
import io
import json
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

import sentencepiece
import tokenizers
import transformers
from sentencepiece import sentencepiece_model_pb2

HERE = pathlib.Path(__file__).parent
FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
SPACE = "\u2581"

TEXTS = (
    "", " ", "a", " a", "  a  ", "Hello world", "Hello  two   spaces",
    " \n a", "line\nline\n\nline\r\n", "\ttab", "2024 1,000.50",
    "To be, or not to be: that is the question.",
    "caf\u00e9 na\u00efve e\u0301", "\u05e9\u05dc\u05d5\u05dd",
    "\u6f22\u5b57\u304b\u306a", "\U0001f917 \U0001f468\u200d\U0001f469",
    "\ufffd\u00a0\u3000x", "<0x41> <un k>", "a" * 100, " " * 40 + "x",
    "kalomu'inder \"the\" --\u2014 end", "\x00\x01\x7f",
)

# For models with user-defined, control and other special pieces.
HOSTILE = TEXTS + (
    "a<sep>b", "<sep>", "<sep>a", "a <sep> b", "<sep><sep>", "a<se<sep>p>",
    "<|im_start|>user\nriver rivers<|im_end|>", "river", "driver's river",
    "<s>", "</s>", "<unk>", "<s>a</s>b<unk>", "<sep><s><sep>", "<sep></s>",
    "<sep><unk>", "<sep><0x0A><sep>", "<0x41>", "<pad><sep><pad>",
    "<code>\t<code>", "x  y    z     w", "\t\t\t", "a b", "a b a b",
    "  \n  x  \n  ", "\n", "\n\n a\n \nb \n", " a\n b\n", SPACE, SPACE * 3,
    f"a{SPACE}b{SPACE} ", f"x{SPACE} {SPACE}", f"{SPACE}<sep>{SPACE}",
    " " * 300, "x" + " " * 33 + "y", "the river of the river and the sea ",
    "aaaaaaa aaaa", "abababa",
)


def train(**options):
  """A model of a text that has no source but this."""
  random_ = random.Random(1)
  base = ["".join(random_.choices("abcdehinorstuv", k=random_.randint(1, 7)))
          for _ in range(60)] + ["river", "the", "aaaa", "abab", "of", "and"]
  text = [random_.choice((" ", "  ", "    ")).join(
      random_.choices(base, k=9)) for _ in range(300)]
  model = io.BytesIO()
  sentencepiece.SentencePieceTrainer.train(
      sentence_iterator=iter(text), model_writer=model, model_type="bpe",
      normalization_rule_name="identity", hard_vocab_limit=False,
      minloglevel=2, **options)
  return model.getvalue()


def with_runs(model):
  """Runs of spaces of one score, as Mixtral has them: 2 to 6, and 8."""
  proto = sentencepiece_model_pb2.ModelProto.FromString(model)
  there = {piece.piece: piece for piece in proto.pieces}
  for length in (8, 2, 5, 3, 6, 4):
    text = SPACE * length
    if text not in there:
      there[text] = proto.pieces.add(piece=text, type=1)
    there[text].score = -1e9
  return proto.SerializeToString()


def make_models(target):
  """Each named for what it has that the others have not."""
  symbols = ["<sep>", "<|im_start|>", "river"]
  spaces = ["  ", "    ", "\t", "<code>", SPACE * 4]
  shared = {"byte_fallback": True, "vocab_size": 340,
            "remove_extra_whitespaces": False}
  models = {
      "user_defined": train(**shared, user_defined_symbols=symbols),
      "user_defined_spaces": train(**shared, user_defined_symbols=spaces),
      "user_defined_trimmed": train(
          byte_fallback=True, vocab_size=340, user_defined_symbols=symbols),
      "trimmed": train(byte_fallback=True, vocab_size=340),
      "no_prefix": train(
          **shared, add_dummy_prefix=False, user_defined_symbols=symbols,
          control_symbols=["<pad>", "abab"]),
      "no_bytes": train(vocab_size=90, remove_extra_whitespaces=False,
                        user_defined_symbols=["river"], bos_id=-1),
      "sentences": train(**shared, split_by_whitespace=False,
                         user_defined_symbols=["a b"]),
      "runs": with_runs(train(**shared, allow_whitespace_only_pieces=True)),
  }
  target.mkdir(exist_ok=True)
  for name, model in models.items():
    (target / f"{name}.model").write_bytes(model)


def dump(program, model, texts, directory):
  """What we make of `model` and `texts`, in `directory`."""
  directory.mkdir()
  shutil.copyfile(model, directory / "tokenizer.model")
  (directory / "texts.json").write_text(json.dumps(texts))
  (directory / "config.json").write_text('{"model_type": "mixtral"}')
  subprocess.run([program, directory], check=True)
  return transformers.AutoTokenizer.from_pretrained(
      directory, local_files_only=True)


def texts_json(tokenizer):
  items = []
  for text in TEXTS:
    ids = tokenizer.encode(text, add_special_tokens=False)
    items.append({
        "text": text, "ids": ids, "ids_with_special": tokenizer.encode(text),
        "decoded": tokenizer.decode(ids, skip_special_tokens=True)})
  lines = ",\n".join(json.dumps(item) for item in items)
  return f"[\n{lines}\n]\n"


def fnv1a(contents):
  digest = 0xCBF29CE484222325
  for byte in contents:
    digest = (digest ^ byte) * 0x100000001B3 % 2**64
  return f"{digest:016x}"


def golden_of(directory, auto):
  """The ids that all give, or an error."""
  raw = tokenizers.Tokenizer.from_file(str(directory / "tokenizer.json"))
  model = sentencepiece.SentencePieceProcessor(
      model_file=str(directory / "tokenizer.model"))
  items = []
  for text in HOSTILE:
    ids = model.encode(text)
    for theirs in (raw.encode(text, add_special_tokens=False).ids,
                   auto.encode(text, add_special_tokens=False)):
      if theirs != ids:
        raise SystemExit(f"{directory.name}: {text!r}: {ids}, {theirs}")
    items.append({"text": text, "ids": ids})
  digest = fnv1a((directory / "tokenizer.json").read_bytes())
  return {"tokenizer_json": digest, "texts": items}


def golden_json(goldens):
  lines = []
  for name, golden in goldens.items():
    items = ",\n".join(json.dumps(item) for item in golden["texts"])
    lines.append(f'"{name}": {{"tokenizer_json": "{golden["tokenizer_json"]}",'
                 f'\n"texts": [\n{items}\n]}}')
  return "{\n" + ",\n".join(lines) + "\n}\n"


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument("dump_tokenizer", type=pathlib.Path)
  parser.add_argument("--check", action="store_true")
  parser.add_argument("--models", action="store_true")
  arguments = parser.parse_args()
  many = HERE / "tokenizers"
  if arguments.models:
    make_models(many)
  with tempfile.TemporaryDirectory() as root:
    one = pathlib.Path(root, "tokenizer")
    auto = dump(arguments.dump_tokenizer, HERE / "tokenizer/tokenizer.model",
                TEXTS, one)
    made = {HERE / "tokenizer" / name: (one / name).read_text()
            for name in FILES}
    made[HERE / "tokenizer/texts.json"] = texts_json(auto)
    goldens = {}
    for path in sorted(many.glob("*.model")):
      directory = pathlib.Path(root, path.stem)
      goldens[path.stem] = golden_of(directory, dump(
          arguments.dump_tokenizer, path, HOSTILE, directory))
    made[many / "golden.json"] = golden_json(goldens)
  stale = [path for path, text in made.items()
           if not path.exists() or path.read_text() != text]
  for path in stale:
    if arguments.check:
      print(f"{path} is not what the libraries give now")
    else:
      path.write_text(made[path])
  return 1 if arguments.check and stale else 0


if __name__ == "__main__":
  sys.exit(main())
