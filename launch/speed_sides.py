"""What is measured in turns: moe-bench, and Hugging Face transformers."""

import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PEER = ROOT / "tests" / "peers" / "mixtral_speed.py"

COMPUTE_DTYPES = {"f32": "FLOAT32", "bf16": "BFLOAT16"}
TORCH_DTYPES = {"f32": "float32", "bf16": "bfloat16"}
SEQUENCES = 4  # a thread

# What --tiny makes of every model.
TINY = dict(
    hidden_size=64, intermediate_size=64, num_hidden_layers=2,
    num_attention_heads=4, num_key_value_heads=2, vocab_size=512)
TINY_LENGTH = 64


class Failure(Exception):
  """A program that was started did not do its part."""


def parse_result(name, line):
  """The JSON object that program `name` printed as a result."""
  try:
    result = json.loads(line)
  except ValueError:
    result = None
  if not isinstance(result, dict):
    raise Failure(f"{name} printed what is no result: {line[:80]!r}")
  return result


def start(command, **pipes):
  """A program whose output is text, whatever its bytes."""
  try:
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, errors="replace", **pipes)
  except OSError as error:
    raise Failure(f"{command[0]}: {error.strerror}") from error


class Ours:
  """moe-bench, started anew for each measurement."""

  def __init__(self, build, seconds, tiny):
    self.programs = build / "bin"
    self.seconds = seconds
    self.tiny = tiny

  def start(self, part, preset, dtype, ranks=1, overrides=(), threads=1):
    """Of `threads` a rank."""
    # Parts of many short measurements take less time for each.
    seconds = self.seconds / (1 if part in ["step", "skew"] else 8)
    command = [
        self.programs / "moe-bench", f"--preset={preset}", f"--part={part}",
        f"--seconds={seconds:g}", "--json", f"run.threads={threads}",
        f"run.compute_dtype={COMPUTE_DTYPES[dtype]}",
        f"batch.micro_size={SEQUENCES * threads}",
        f"batch.global_size={SEQUENCES * threads * ranks}", *overrides]
    if self.tiny:
      command += [f"model.{key}={value}" for key, value in TINY.items()]
      command += [f"batch.sequence_length={TINY_LENGTH}", "--array-mib=1"]
    if ranks > 1:
      command = [ROOT / "launch" / "run.sh", "-n", str(ranks)] + command
    return start(command, stdin=subprocess.DEVNULL)

  def finish(self, process):
    """All results that it prints."""
    output, _ = process.communicate()
    if process.returncode != 0:
      raise Failure(f"moe-bench ended with code {process.returncode}")
    if not output:
      raise Failure("moe-bench printed nothing")
    return [parse_result("moe-bench", line) for line in output.splitlines()]

  def part(self, part, preset, dtype):
    return self.finish(self.start(part, preset, dtype))

  def step(self, preset, dtype, ranks=1, overrides=(), threads=1):
    """The result of a training step."""
    return self.finish(
        self.start("step", preset, dtype, ranks, overrides, threads))[0]

  def two_jobs(self, preset, dtype, overrides=()):
    """Two jobs of one rank at once, as if they were one."""
    jobs = [self.start("step", preset, dtype, 1, overrides) for _ in range(2)]
    results = [self.finish(job)[0] for job in jobs]
    return dict(
        tokens_per_second=sum(r["tokens_per_second"] for r in results))

  def model(self, preset):
    """The preset's model as keys of MixtralConfig, and a sequence's length."""
    process = start(
        [self.programs / "moe-train", f"--preset={preset}", "--print-config"])
    output, _ = process.communicate()
    if process.returncode != 0:
      raise Failure(f"moe-train ended with code {process.returncode}")
    return parse_model(output, self.tiny)


def parse_model(config, tiny):
  """Of the text of a configuration; see Ours.model."""
  section = re.search(r"^model \{\n(.*?)^\}", config, re.S | re.M)
  length = re.search(r"^  sequence_length: (\d+)$", config, re.M)
  if section is None or length is None:
    raise Failure("moe-train --print-config printed no configuration")
  model = {}
  for key, text in re.findall(r"^  (\w+): (\S+)$", section.group(1), re.M):
    value = json.loads(text)
    if value is False or value != 0:  # 0 leaves it to the program
      model[key] = value
  if tiny:
    return {**model, **TINY}, TINY_LENGTH
  return model, int(length.group(1))


class Peer:
  """mixtral_speed.py, which waits while others are measured."""

  def __init__(self, ours, preset, dtype, threads, form):
    model, length = ours.model(preset)
    self.process = start(
        [sys.executable, PEER, f"--model={json.dumps(model)}",
         f"--dtype={TORCH_DTYPES[dtype]}", f"--threads={threads}",
         f"--sequences={SEQUENCES * threads}", f"--length={length}",
         f"--seconds={ours.seconds:g}", *form],
        stdin=subprocess.PIPE)
    try:
      self.parameters = self._read().get("parameters")
    except BaseException:
      self.close()
      raise

  def _read(self):
    line = self.process.stdout.readline()
    if not line:
      raise Failure(f"{PEER.name} ended with code {self.process.wait()}")
    return parse_result(PEER.name, line)

  def measure(self):
    try:
      self.process.stdin.write("\n")
      self.process.stdin.flush()
    except BrokenPipeError:
      pass  # it is gone: reading says so
    return self._read()

  def close(self):
    try:
      self.process.stdin.close()
    except BrokenPipeError:
      pass
    self.process.wait()
