#!/usr/bin/env python3
"""moe-train --init-from as a user starts it: what a checkpoint says beside its
tensors counts, or is refused by name; and moe-generate and moe-checkpoint read
the same words.

    init_from_test.py BUILD_DIRECTORY
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import foreign_checkpoints as foreign

HERE = pathlib.Path(__file__).resolve().parent
BUILD = pathlib.Path(sys.argv[1]).resolve()
GOLDEN = json.loads(
    (HERE.parent / "golden" / "foreign_losses.json").read_text())
ONE_STEP = ["schedule.steps=1", "optimizer.learning_rate=0",
            "batch.global_size=4", f"batch.sequence_length={foreign.LENGTH}",
            "eval.interval_steps=1", "eval.batches=0", "run.threads=1"]

failures = 0


def fail(text):
  global failures
  failures += 1
  print(f"FAIL: {text}", flush=True)


def start(program, *words, ranks=0):
  command = [str(BUILD / "bin" / program), *map(str, words)]
  if ranks:
    command = [str(HERE.parent / "mpirun.sh"), str(ranks), *command]
  environment = dict(os.environ)
  environment["ASAN_OPTIONS"] = "detect_leaks=0:" + environment.get(
      "ASAN_OPTIONS", "")
  return subprocess.run(command, capture_output=True, text=True,
                        stdin=subprocess.DEVNULL, env=environment)


class Test:
  """Runs in a folder of their own, each with a number."""

  def __init__(self, work):
    self.work, self.runs = work, 0
    self.tokens = foreign.write_tokens(work / "tokens")
    self.data = [f"data.train={work}/tokens", f"data.valid={work}/tokens"]

  def make(self, variant):
    self.runs += 1
    directory = self.work / f"source{self.runs}"
    variant.write(directory)
    return directory

  def train(self, source, *words, ranks=0, data=None):
    self.runs += 1
    run = self.work / f"run{self.runs}"
    done = start("moe-train", f"--init-from={source}", f"run.directory={run}",
                 *(self.data if data is None else data), *ONE_STEP, *words,
                 ranks=ranks)
    return run, done

  def ok(self, what, source, *words, **options):
    run, done = self.train(source, *words, **options)
    if done.returncode != 0:
      fail(f"{what}: code {done.returncode}: {done.stderr}")
    return run, done.stderr

  def refused(self, what, code, text, source, *words, **options):
    _, done = self.train(source, *words, **options)
    lines = [line for line in done.stderr.splitlines()
             if line.startswith("moe-train: ") and ": warning: " not in line]
    if done.returncode != code or len(lines) != 1 or text not in lines[0]:
      fail(f"{what}: code {done.returncode}, must be {code} with '{text}': "
           f"{done.stderr}")

  def expect(self, what, text, wanted, present=True):
    if (wanted in text) != present:
      fail(f"{what}: {'lacks' if present else 'has'} '{wanted}': {text}")


def valid_loss(run):
  lines = (run / "metrics.jsonl").read_text().splitlines()
  return json.loads(lines[-1])["valid_loss"]


def saved(run, name):
  return json.loads((run / "checkpoints/step_00000001" / name).read_text())


def losses(test):
  for name, variant in foreign.ACCEPTED.items():
    ranks = 2 if name in ("shards", "tied_stored") else 0
    run, _ = test.ok(name, test.make(variant), ranks=ranks)
    if not (run / "metrics.jsonl").exists():
      continue
    loss = valid_loss(run)
    if abs(loss - GOLDEN[name]) > 1e-5:
      fail(f"{name}: valid loss {loss}, transformers has {GOLDEN[name]}")


def refusals(test):
  for name, (text, variant) in foreign.REFUSED.items():
    source = test.make(variant)
    ranks = 2 if name in ("nan", "other_head") else 0
    test.refused(name, 65, text, source, ranks=ranks)
    # A dry run ends in the same way.
    test.refused(f"{name}, dry run", 65, text, source, "--dry-run")
  for verb in (["verify"], ["export", f"--output={test.work}/exported"]):
    source = test.make(foreign.REFUSED["other_head"][1])
    done = start("moe-checkpoint", verb[0], source, *verb[1:])
    if done.returncode != 65:
      fail(f"{verb[0]} of a head that is not used: code {done.returncode}")
    test.expect(verb[0], done.stdout + done.stderr, "lm_head.weight differs")


def words(test):
  """Which keys are taken, which are refused, and what is said of it."""
  source = test.make(foreign.ACCEPTED["rope_theta"])
  _, said = test.ok("nothing typed", source)
  test.expect("nothing typed", said, f"taken from {source}: ")
  for text in ("model.rope_theta 10000", "model.head_dim 8",
               "model.vocab_size 64", "router.renormalize true"):
    test.expect("nothing typed", said, text)
  _, said = test.ok("a typed key", source, "model.rope_theta=1e4")
  test.expect("a typed key", said, "rope_theta", present=False)
  for word, text in (
      ("model.rope_theta=1000000", "model.rope_theta is 1000000, must be 10000"),
      ("model.num_attention_heads=8",
       "model.num_attention_heads is 8, must be 4"),
      ("router.renormalize=false",
       "router.renormalize is false, must be true")):
    test.refused(word, 64, text, source, word)
    _, done = test.train(source, word, "--dry-run")
    test.expect(f"{word}, dry run", done.stderr, text)
  config = test.work / "typed.textproto"
  config.write_text("model { rms_norm_eps: 0.5 }")
  test.refused("--config", 64, "model.rms_norm_eps is 0.5, must be 1e-05",
               source, f"--config={config}")
  # A preset gives way.
  run, _ = test.ok("--preset", source, "--preset=e8", "run.directory=" +
                   str(test.work / "preset"))
  test.expect("--preset", (test.work / "preset/config.textproto").read_text(),
              "rope_theta: 10000")
  _, done = test.train(source, "--dry-run")
  test.expect("dry run", done.stdout, f"Note: taken from {source}: ")
  # The sequences' length, where it is nobody's word.
  done = start("moe-train", f"--init-from={source}", "--dry-run",
               "schedule.steps=1", *test.data)
  test.expect("length", done.stdout, "batch.sequence_length is 64, not the "
              "default 256: model.max_position_embeddings is 64")
  window = test.make(foreign.ACCEPTED["window"])
  done = start("moe-train", f"--init-from={window}", "--dry-run",
               "schedule.steps=1", *test.data)
  test.expect("window", done.stdout, "batch.sequence_length is 16, not the "
              "default 256: the checkpoint's sliding_window is 16")
  buffers = test.make(foreign.ACCEPTED["frequencies"])
  for more in ([], ["--dry-run"]):
    _, done = test.train(buffers, *more)
    test.expect("buffers", done.stdout + done.stderr,
                f"passed over in {buffers}: "
                "model.layers.0.self_attn.rotary_emb.inv_freq")
  test.refused("nowhere", 65, "--init-from: ", test.work / "nowhere")


def carried(test):
  """What goes into checkpoints, of the source, and then of our own."""
  run, _ = test.ok("ends", test.make(foreign.ACCEPTED["ends"]))
  for _ in range(2):
    config = saved(run, "config.json")
    for key, value in (("eos_token_id", [7, 2]), ("bos_token_id", 5),
                       ("pad_token_id", 0), ("max_position_embeddings", 64)):
      if config[key] != value:
        fail(f"{key} is {config[key]} in what is saved, must be {value}")
    generation = saved(run, "generation_config.json")
    if generation != {"eos_token_id": [7, 2, 9], "top_p": 0.9}:
      fail(f"generation_config.json: {generation}")
    run, _ = test.ok("ends again", run)
  # A tokenizer that we do not read goes on as it is.
  files = {name: f"the {name}" for name in (
      "tokenizer.json", "special_tokens_map.json", "added_tokens.json",
      "chat_template.jinja", "tokenizer.model.v3")}
  files["tokenizer_config.json"] = '{"chat_template": "x"}'
  source = test.make(foreign.Variant(files=files))
  run, said = test.ok("tokenizer's files", source)
  test.expect("tokenizer's files", said,
              f"not carried on from {source}: tokenizer.model.v3 (not known")
  del files["tokenizer.model.v3"]
  for _ in range(2):
    for name, text in files.items():
      kept = run / "checkpoints/step_00000001" / name
      if not kept.exists() or kept.read_text() != text:
        fail(f"{name} is not as it was in what is saved")
    done = start("moe-checkpoint", "verify", run)
    if done.returncode:
      fail(f"verify: {done.stderr}")
    run, said = test.ok("tokenizer's files again", run)
    test.expect("tokenizer's files again", said, "not carried", present=False)
  run, _ = test.ok("window", test.make(foreign.ACCEPTED["window"]))
  if saved(run, "config.json")["sliding_window"] != foreign.LENGTH:
    fail("sliding_window is not in what is saved")


def going_on(test):
  source = test.make(foreign.ACCEPTED["rope_theta"])
  run, _ = test.ok("begun", source)
  shutil.rmtree(source)
  moved = test.work / "moved"
  run.rename(moved)
  more = [f"run.directory={moved}", "schedule.steps=2"]
  _, done = test.train(source, *more, "--dry-run")
  test.expect("on, dry run", done.stdout, f"--init-from={source} is not used")
  _, said = test.ok("going on", source, *more)
  test.expect("going on", said, f"--init-from={source} is not used")
  test.expect("going on", said, f"going on from {moved}/checkpoints/step_0000")
  config = json.loads(
      (moved / "checkpoints/step_00000002/config.json").read_text())
  if config["rope_theta"] != 10000:
    fail("going on changed rope_theta")
  test.refused("going on otherwise", 64, "model.rope_theta is 5, was 10000",
               source, *more, "model.rope_theta=5")
  test.refused("another router", 64, "router.renormalize is false, was true",
               source, *more, "router.renormalize=false")


def tokenizers(test):
  text = test.work / "text.txt"
  text.write_text("".join(f"the {i * 7919 % 1000} cats and {i * 31 % 100} dogs "
                          "run\n" for i in range(3000)))
  done = start("moe-tokenize", "--input", text, "--vocab-size", 300,
               "--output", test.work / "learned")
  if done.returncode:
    fail(f"moe-tokenize: {done.stderr}")
    return
  source = test.make(foreign.Variant(vocab_size=300))
  data = [f"data.train={text}"]
  test.refused("text without a tokenizer", 64,
               f"{source}, whose weights the run has, holds no tokenizer.model",
               source, data=data)
  _, done = test.train(source, "--dry-run", data=data)
  test.expect("text, dry run", done.stderr, "holds no tokenizer.model")
  if done.returncode != 64:
    fail(f"text, dry run: code {done.returncode}, must be 64")
  model = test.work / "learned.model"
  test.ok("a typed tokenizer", source, f"data.tokenizer={model}", data=data)
  shutil.copy(model, source / "tokenizer.model")
  (source / "tokenizer.json").write_text("{}")
  (source / "chat_template.jinja").write_text("{{ x }}")
  other = test.work / "other"
  done = start("moe-tokenize", "--input", text, "--vocab-size", 290,
               "--output", other)
  if done.returncode:
    fail(f"moe-tokenize: {done.stderr}")
  test.refused("another tokenizer", 64,
               f"data.tokenizer is {other}.model with digest ", source,
               f"data.tokenizer={other}.model", data=data)
  test.refused("another tokenizer, dry run", 64,
               f"data.tokenizer is {other}.model with digest ", source,
               f"data.tokenizer={other}.model", "--dry-run", data=data)
  test.ok("tokens of another tokenizer", source,
          f"data.tokenizer={other}.model", data=[f"data.train={other}"])
  test.ok("the source's tokenizer typed", source, f"data.tokenizer={model}",
          data=data)
  run, said = test.ok("the source's tokenizer", source, data=data)
  test.expect("the source's tokenizer", said, f"not carried on from {source}: "
              f"tokenizer.json (made anew of {source}/tokenizer.model)")
  if (run / "checkpoints/step_00000001/chat_template.jinja").read_text() != (
      "{{ x }}"):
    fail("the chat template is not in what is saved")
  kept = run / "checkpoints/step_00000001/tokenizer.model"
  if not kept.exists() or kept.read_bytes() != model.read_bytes():
    fail("the source's tokenizer is not in what is saved")
  test.expect("the source's tokenizer", said, "learning", present=False)
  if list(run.glob("data/*.model")):
    fail("a vocabulary was learned under trained embeddings")
  shutil.rmtree(source)
  again, said = test.ok("without the source", source, f"run.directory={run}",
                        "schedule.steps=2", data=data)
  if not (run / "checkpoints/step_00000002/tokenizer.model").exists():
    fail(f"going on lost the tokenizer: {said}")
  generate(test, run / "checkpoints/step_00000001")


def generate(test, checkpoint):
  """The words of config.json and generation_config.json end a text."""
  source = test.work / "generate"
  shutil.copytree(checkpoint, source)
  (source / "manifest.textproto").unlink()

  def change(name, key, value):
    settings = json.loads((source / name).read_text())
    settings[key] = value
    (source / name).write_text(json.dumps(settings))

  def text():
    return start("moe-generate", f"--checkpoint={source}",
                 "--prompt=the cats", "--temperature=0", "--max-tokens=50")

  change("config.json", "sliding_window", 12)
  test.expect("a window", text().stderr, "stopped at sliding_window (12)")
  every_id = list(range(256)), list(range(200, 300))
  change("generation_config.json", "eos_token_id", every_id[0])
  lengths = [len(text().stdout)]
  change("generation_config.json", "eos_token_id", every_id[1])
  lengths.append(len(text().stdout))
  (source / "generation_config.json").unlink()
  change("config.json", "eos_token_id", every_id[1])
  lengths.append(len(text().stdout))
  # Greedy text of such a model is one token again and again.
  if min(lengths) != len("the cats\n") or lengths[1] != lengths[2]:
    fail(f"eos_token_id does not end texts: lengths {lengths}")


def main():
  with tempfile.TemporaryDirectory() as work:
    test = Test(pathlib.Path(work))
    for part in (losses, refusals, words, carried, going_on, tokenizers):
      part(test)
  if failures:
    return 1
  print("all of --init-from is well")
  return 0


if __name__ == "__main__":
  sys.exit(main())
