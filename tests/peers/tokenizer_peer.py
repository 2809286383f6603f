#!/usr/bin/env python3
"""Our tokenizer against sentencepiece, tokenizers and transformers.

    tokenizer_peer.py DUMP_TOKENIZER [--rounds N] [--seed N] [--model FILE]...

Trains small SentencePiece models with options drawn at random, changes some
of them as spm_train never would, and makes hostile texts for each. The ids of
DUMP_TOKENIZER (ours) must be sentencepiece's, and what it exports must give
them in tokenizers and in AutoTokenizer. What it does not export must have a
reason, which AutoTokenizer says, too. A model as it was trained is exported,
but for some with user-defined pieces. --model: tries these as well.
"""

import argparse
import collections
import io
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import sentencepiece
import tokenizers
import transformers
from sentencepiece import sentencepiece_model_pb2

SPACE = "\u2581"
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED = 1, 2, 3, 4, 5
SYMBOLS = ("<sep>", "<|im_start|>", "river", "  ", "    ", "\t", "\n\n", "<",
           "<code>", SPACE, SPACE * 2, SPACE * 4, "a b", "e", "the", "ab",
           "a", "aba", ".*", "[x]", "(?=s>\\z)", "s>", "\u00e9", "$^")
ALPHABETS = ("ab ", "abc  ", "the river and sea ", "aab.\n\t",
             "x\u00e9\u6f22\U0001f917 ")


def words(random_):
  """Text to learn from: repetitive, so that pieces are long."""
  base = ["".join(random_.choices("abcdehinrstv", k=random_.randint(1, 7)))
          for _ in range(60)] + ["river", "the", "aaaa", "abab", "<sep>"]
  return [random_.choice((" ", "  ", " ")).join(
      random_.choices(base, k=random_.randint(3, 12))) for _ in range(400)]


def train(random_):
  """The bytes of a model, trained with options drawn at random."""
  model = io.BytesIO()
  pick = random_.choice
  options = dict(
      model_type="bpe", byte_fallback=pick((True, False)),
      add_dummy_prefix=pick((True, True, False)),
      remove_extra_whitespaces=pick((True, False)),
      allow_whitespace_only_pieces=pick((True, False)),
      split_by_whitespace=pick((True, True, False)),
      split_digits=pick((True, False)), character_coverage=pick((1.0, 0.98)),
      normalization_rule_name="identity")
  if pick((True, True, False)):
    options["user_defined_symbols"] = random_.sample(SYMBOLS,
                                                     random_.randint(1, 6))
  if pick((True, False)):
    control = random_.sample(("<pad>", "<cls>", "aa", "re", "s>"),
                             random_.randint(1, 3))
    options["control_symbols"] = [
        symbol for symbol in control
        if symbol not in options.get("user_defined_symbols", ())]
  size = random_.randint(60, 160) + (256 if options["byte_fallback"] else 0)
  sentencepiece.SentencePieceTrainer.train(
      sentence_iterator=iter(words(random_)), model_writer=model,
      vocab_size=size, hard_vocab_limit=False, minloglevel=2, **options)
  return model.getvalue(), options


def change(random_, model):
  """Makes of a model one that spm_train does not make."""
  proto = sentencepiece_model_pb2.ModelProto.FromString(model)
  normal = [p for p in proto.pieces if p.type == NORMAL]
  what = random_.choice(("unused", "ties", "all ties", "runs", "user-defined",
                         "control", "shuffle", "no character", "plain spaces"))
  if what == "unused":
    random_.choice(normal).type = UNUSED
  elif what == "ties":
    one, other = random_.sample(normal, 2)
    one.score = other.score
  elif what == "all ties":
    for piece in normal:
      piece.score = piece.score // 3
  elif what == "runs":
    character = random_.choice((SPACE, "a"))
    for length in range(2, random_.randint(3, 18)):
      text = character * length
      if any(piece.piece == text for piece in proto.pieces):
        continue
      if random_.random() < 0.2:
        continue
      proto.pieces.add(piece=text, score=-1e9, type=NORMAL)
    for piece in proto.pieces:
      if len(piece.piece) > 1 and set(piece.piece) == {character}:
        piece.score = -1e9
  elif what == "user-defined":
    for piece in random_.sample(normal, min(8, len(normal))):
      piece.type = USER_DEFINED
  elif what == "control":
    for piece in random_.sample(normal, min(3, len(normal))):
      piece.type = CONTROL
  elif what == "shuffle":
    scores = [piece.score for piece in normal]
    random_.shuffle(scores)
    for piece, score in zip(normal, scores):
      piece.score = score
  elif what == "no character":
    for piece in normal:
      if len(piece.piece) == 1 and random_.random() < 0.1:
        piece.piece = "never seen " + piece.piece
  else:
    proto.normalizer_spec.escape_whitespaces = False
  return proto.SerializeToString(), what


def texts(random_, model):
  """Hostile ones: made of pieces, their parts, spaces and line ends."""
  proto = sentencepiece_model_pb2.ModelProto.FromString(model)
  pieces = [piece.piece for piece in proto.pieces]
  odd = [p.piece for p in proto.pieces if p.type not in (NORMAL, 6)]
  odd += ["<0x0A>", "<0x41>", " ", "  ", "\n", "\t", SPACE, "\u00a0", "\u6f22"]
  made = ["", " ", "\n", "   ", SPACE, " \n a", "a \n ", " " * 3000 + "x",
          "x" + " " * 3000, "a" * 2000, SPACE * 500 + "b", "\x00\x01"]
  made += odd + [a + b for a in odd for b in random_.sample(odd, 2)]
  made += [a + b + a for a in odd for b in random_.sample(odd, 2)]
  for _ in range(150):
    parts = []
    for _ in range(random_.randint(1, 12)):
      kind = random_.random()
      if kind < 0.3:
        parts.append(random_.choice(odd))
      elif kind < 0.6:
        parts.append(random_.choice(pieces).replace(SPACE, " "))
      else:
        parts.append("".join(random_.choices(
            random_.choice(ALPHABETS), k=random_.randint(1, 9))))
    made.append("".join(parts))
  return made


class Judge:
  """Compares, counts, and shows what is wrong."""

  def __init__(self):
    self.wrong = 0
    self.counts = collections.Counter()

  def fail(self, what):
    self.wrong += 1
    if self.wrong <= 20:
      print(f"WRONG {what}")

  def check_refused(self, directory, reason):
    self.counts["refused"] += 1
    if (directory / "tokenizer.json").exists():
      self.fail(f"{directory}: refused, and written")
    try:
      transformers.AutoTokenizer.from_pretrained(directory)
    except ValueError as error:
      if reason in str(error):
        return
    self.fail(f"{directory}: AutoTokenizer does not say {reason}")

  def check(self, directory, name, may_refuse):
    """Compares what was dumped to `directory`."""
    ours = json.loads((directory / "ours.json").read_text())
    if "no_model" in ours:
      self.counts["not read"] += 1
      if not may_refuse:
        self.fail(f"{name}: {ours['no_model']}")
      return
    items = json.loads((directory / "texts.json").read_text())
    model = sentencepiece.SentencePieceProcessor(
        model_file=str(directory / "tokenizer.model"))
    # An unused piece that is one character is its id in sentencepiece 0.1 (and
    # here), unknown in 0.2.
    ways = {}
    if not any(model.is_unused(id) for id in range(len(model))):
      ways["sentencepiece"] = model.encode
    if ours["refused"]:
      if not may_refuse:
        self.fail(f"{name}: {ours['refused']}")
      self.check_refused(directory, ours["refused"])
    else:
      self.counts["exported"] += 1
      raw = tokenizers.Tokenizer.from_file(str(directory / "tokenizer.json"))
      auto = transformers.AutoTokenizer.from_pretrained(directory)
      bos = [auto.bos_token_id]
      ways["tokenizers"] = lambda text: raw.encode(
          text, add_special_tokens=False).ids
      ways["AutoTokenizer"] = lambda text: auto.encode(
          text, add_special_tokens=False)
      ways["AutoTokenizer with <s>"] = lambda text: auto.encode(
          text)[len(bos):] if auto.encode(text)[:1] == bos else None
    for way, encode in ways.items():
      for text, ids in zip(items, ours["ids"]):
        self.counts[way] += 1
        theirs = encode(text)
        if theirs != ids:
          self.fail(f"{way}, {name}: {text[:60]!r}\n  ours   {ids[:40]}\n"
                    f"  theirs {theirs[:40] if theirs else theirs}")


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument("dump_tokenizer", type=pathlib.Path)
  parser.add_argument("--rounds", type=int, default=60)
  parser.add_argument("--seed", type=int, default=1)
  parser.add_argument("--model", type=pathlib.Path, action="append", default=[])
  arguments = parser.parse_args()
  transformers.logging.set_verbosity_error()
  random_ = random.Random(arguments.seed)
  models = [(path.read_bytes(), str(path), False) for path in arguments.model]
  for _ in range(arguments.rounds):
    model, options = train(random_)
    may_refuse = "user_defined_symbols" in options and (
        not options["byte_fallback"] or options["remove_extra_whitespaces"])
    models.append((model, str(options), may_refuse))
    changed, what = change(random_, model)
    models.append((changed, f"{what}: {options}", True))
  judge = Judge()
  with tempfile.TemporaryDirectory() as root:
    directories = []
    for index, (model, _, _) in enumerate(models):
      directory = pathlib.Path(root, str(index))
      directory.mkdir()
      (directory / "tokenizer.model").write_bytes(model)
      (directory / "config.json").write_text('{"model_type": "mixtral"}')
      (directory / "texts.json").write_text(json.dumps(texts(random_, model)))
      directories.append(directory)
    subprocess.run([arguments.dump_tokenizer, *directories], check=True)
    for directory, (_, name, may_refuse) in zip(directories, models):
      judge.check(directory, name, may_refuse)
  print(", ".join(f"{count:,} {what}" for what, count in judge.counts.items()))
  print(f"{judge.wrong} wrong")
  return 1 if judge.wrong else 0


if __name__ == "__main__":
  sys.exit(main())
