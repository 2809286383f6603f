"""Measures moe-bench and Hugging Face transformers in turns and prints how they
compare; compare-with-transformers.sh --help says what there is to know."""

import argparse
import contextlib
import fnmatch
import os
import pathlib
import sys

import speed_table
from speed_sides import Failure, Ours, Peer
from speed_table import Limit

# Ways to train with transformers; the strongest one counts.
FORMS = {
    "eager": ["--experts=eager"],
    "grouped_mm": ["--experts=grouped_mm"],
    "grouped_mm, compiled": ["--experts=grouped_mm", "--compile"],
}
# Reported beside them: without float32 master weights, which is not the same
# training.
BFLOAT16_WEIGHTS = "grouped_mm, bfloat16 weights"
BFLOAT16_FORM = ["--experts=grouped_mm", "--weights=bfloat16"]

BALANCED = ["router.force_balance=true"]
EXPERT_RANKS = ["parallel.expert=2"]

OVER_STRONGEST = {
    ("e8", "f32"): Limit(1.12, 1.25),
    ("e8", "bf16"): Limit(1.5, 1.75),
    ("e64", "f32"): Limit(1.2, 1.4),
    ("e64", "bf16"): Limit(1.7, 2.1),
}
OVER_EAGER = {("e64", "f32"): Limit(5, 6), ("e64", "bf16"): Limit(8, 10)}
UTILISATION = {"f32": Limit(0.70, 0.78), "bf16": Limit(0.55, 0.68)}
MEMORY = Limit(0.7, 0.5)
TWO_RANKS = {"f32": Limit(1.2, 1.4), "bf16": Limit(1.7, 2.0)}
OVER_TWO_JOBS = Limit(0.93, 0.98)
OVER_TWO_RANKS = Limit(0.9, 0.9)
ROUTING_SHARE = {1: Limit(0.08, 0.04), 2: Limit(0.15, 0.08)}
DISPATCH_BYTES = Limit(1.05, 1.0)
SKEW = Limit(1.05, 1.02)
OVER_OTHER_BUILD = Limit(0.99, 1.0)

SPREADS = ["balanced", "Zipf(1.2)", "half at one expert", "one expert"]
OVER_DENSE = {
    "e8": [Limit(0.92, 0.98)] + 3 * [Limit(0.88, 0.95)],
    "e64": 4 * [Limit(0.80, 0.95)],
}
OVER_COPY = {
    "AdamW": Limit(1.4, 1.8),
    "norm": Limit(0.8, 0.95),
    "permutation": Limit(0.8, 0.95),
    "combine": Limit(0.8, 0.95),
    "SwiGLU": Limit(0.65, 0.9),
}


def say(text):
  print(f"compare: {text}", file=sys.stderr, flush=True)


class Comparison:
  """The rows: each measures what it needs and returns lines of the table."""

  def __init__(self, options):
    self.rounds = options.rounds
    self.ours = Ours(options.build, options.seconds, options.tiny)
    self.before = options.against and Ours(
        options.against, options.seconds, options.tiny)

  def rows(self):
    """{name: function}, in the order of the table."""
    if self.before:
      return self.rows_against()
    rows = {}
    for preset in ["e8", "e64"]:
      for dtype in ["f32", "bf16"]:
        rows[f"{preset}-{dtype}"] = self._row(self.one_thread, preset, dtype)
    for name, measure in [("ranks", self.two_ranks), ("jobs", self.two_jobs),
                          ("threads", self.two_threads)]:
      for dtype in ["f32", "bf16"]:
        rows[f"{name}-{dtype}"] = self._row(measure, dtype)
    for preset in ["e8", "e64"]:
      for dtype in ["f32", "bf16"]:
        rows[f"experts-{preset}-{dtype}"] = self._row(
            self.experts, preset, dtype)
    for name, measure in [("memory", self.memory), ("skew", self.skew)]:
      for dtype in ["f32", "bf16"]:
        rows[f"{name}-{dtype}"] = self._row(measure, dtype)
    return rows

  def rows_against(self):
    return {
        f"{name}-{dtype}": self._row(
            self.against_build, preset, dtype, ranks, overrides)
        for name, preset, ranks, overrides in [
            ("e8", "e8", 1, []), ("e64", "e64", 1, []),
            ("ranks", "e8", 2, EXPERT_RANKS + BALANCED)]
        for dtype in ["f32", "bf16"]}

  def against_build(self, row, preset, dtype, ranks, overrides):
    results = self.in_turns(row, {
        name: lambda build=build: build.step(preset, dtype, ranks, overrides)
        for name, build in [("ours", self.ours), ("against", self.before)]})
    return [speed_table.speed_line(
        row, f"{ranks} rank{'s' if ranks > 1 else ''}", "the other build",
        results["ours"], results["against"], OVER_OTHER_BUILD)]

  @staticmethod
  def _row(measure, *arguments):
    return lambda row: measure(row, *arguments)

  def in_turns(self, row, sides):
    """{name: results of all rounds} of {name: function}, each once a round."""
    results = {name: [] for name in sides}
    for i in range(self.rounds):
      for name, measure in sides.items():
        say(f"{row}: round {i + 1} of {self.rounds}: {name}")
        results[name].append(measure())
    return results

  def with_peers(self, row, preset, dtype, threads, sides):
    """in_turns of `sides`, which are ours, and transformers.

    Returns:
      Results of our sides, and of transformers' forms that count.
    """
    forms = dict(FORMS)
    if dtype == "bf16":
      forms[BFLOAT16_WEIGHTS] = BFLOAT16_FORM
    with contextlib.ExitStack() as stack:
      peers = {}
      for name, form in forms.items():
        say(f"{row}: transformers gets ready: {name}")
        peer = Peer(self.ours, preset, dtype, threads, form)
        stack.callback(peer.close)
        peers[name] = peer
      measured = self.in_turns(
          row, {**sides, **{n: p.measure for n, p in peers.items()}})
      parameters = {p.parameters for p in peers.values()}
    ours = {name: measured.pop(name) for name in sides}
    parameters.update(
        r.get("parameters") for rs in ours.values() for r in rs)
    if len(parameters) > 1:
      raise Failure(f"{row}: not the same model: {parameters} parameters")
    return ours, measured

  def peer_lines(self, row, what, ours, peers, limit):
    """Over the strongest form, and for no limit over what is beside them."""
    beside = {name: peers[name] for name in peers if name == BFLOAT16_WEIGHTS}
    peers = {name: peers[name] for name in peers if name not in beside}
    best = speed_table.strongest(peers)
    lines = [speed_table.speed_line(row, what, best, ours, peers[best], limit)]
    for name in beside:
      lines.append(speed_table.speed_line(
          row, what, name, ours, beside[name], None))
    return lines

  def one_thread(self, row, preset, dtype):
    ours, peers = self.with_peers(
        row, preset, dtype, 1,
        {"ours": lambda: self.ours.step(preset, dtype)})
    ours = ours["ours"]
    lines = self.peer_lines(
        row, "1 thread", ours, peers, OVER_STRONGEST[preset, dtype])
    for name in FORMS:
      limit = OVER_EAGER.get((preset, dtype)) if name == "eager" else None
      if name != lines[0].peer or limit is not None:
        lines.append(speed_table.speed_line(
            row, "1 thread", name, ours, peers[name], limit))
    peers.pop(BFLOAT16_WEIGHTS, None)
    is_e8 = preset == "e8"
    return lines + [
        speed_table.share_line(
            row, "of the peak", ours, "share_of_peak",
            UTILISATION[dtype] if is_e8 else None),
        speed_table.share_line(
            row, "router, dispatch, combine", ours, "routing_share",
            ROUTING_SHARE[1] if is_e8 else None),
        speed_table.memory_line(
            row, ours, peers, MEMORY if is_e8 else None),
    ]

  def two_ranks(self, row, dtype):
    sides = {
        "ours, forced balance":
            lambda: self.ours.step("e8", dtype, 2, EXPERT_RANKS + BALANCED),
        "ours": lambda: self.ours.step("e8", dtype, 2, EXPERT_RANKS),
    }
    ours, peers = self.with_peers(row, "e8", dtype, 2, sides)
    forced, natural = ours["ours, forced balance"], ours["ours"]
    lines = self.peer_lines(
        row, "2 ranks, forced balance", forced, peers, TWO_RANKS[dtype])
    lines += self.peer_lines(row, "2 ranks", natural, peers, None)[:1]
    for results, what, limit in [
        (forced, "router, dispatch, combine, forced", ROUTING_SHARE[2]),
        (natural, "router, dispatch, combine", None)]:
      lines.append(speed_table.share_line(
          row, what, results, "routing_share_with_waiting", limit))
    lines.append(speed_table.own_line(
        row, "bytes dispatched", "least possible", natural,
        "dispatch_bytes_over_least", DISPATCH_BYTES))
    return lines

  def two_jobs(self, row, dtype):
    results = self.in_turns(row, {
        "2 ranks":
            lambda: self.ours.step("e8", dtype, 2, EXPERT_RANKS + BALANCED),
        "two jobs": lambda: self.ours.two_jobs("e8", dtype, BALANCED),
    })
    return [speed_table.speed_line(
        row, "2 ranks, forced balance", "two jobs of 1 rank",
        results["2 ranks"], results["two jobs"], OVER_TWO_JOBS)]

  def two_threads(self, row, dtype):
    results = self.in_turns(row, {
        "2 threads":
            lambda: self.ours.step("e8", dtype, 1, BALANCED, threads=2),
        "2 ranks":
            lambda: self.ours.step("e8", dtype, 2, EXPERT_RANKS + BALANCED),
    })
    return [speed_table.speed_line(
        row, "1 rank of 2 threads, forced balance", "2 ranks",
        results["2 threads"], results["2 ranks"], OVER_TWO_RANKS)]

  def part(self, row, name, preset, dtype):
    """{name: result} of what moe-bench measures in turns itself."""
    say(f"{row}: moe-bench --part={name}")
    return {r.get("name"): r for r in self.ours.part(name, preset, dtype)}

  def experts(self, row, preset, dtype):
    results = self.part(row, "experts", preset, dtype)
    lines = []
    for spread, limit in zip(SPREADS, OVER_DENSE[preset]):
      for direction in ["forward", "input gradient", "weight gradient"]:
        name = f"all {direction}, {spread}"
        if name not in results:
          raise Failure(f"{row}: moe-bench printed no '{name}'")
        result = results[name]
        lines.append(speed_table.own_line(
            row, f"experts {direction}, {spread}", "dense product", [result],
            "speed_over_dense", limit))
    return lines

  def memory(self, row, dtype):
    results = self.part(row, "memory", "e8", dtype)
    lines = []
    for name, result in results.items():
      kernel = str(name).split()[0]
      limit = OVER_COPY.get(kernel)
      if kernel == "SwiGLU" and dtype == "f32":
        limit = None
      lines.append(speed_table.own_line(
          row, name, "plain copy", [result], "rate_over_copy", limit))
    return lines

  def skew(self, row, dtype):
    results = self.part(row, "skew", "e8", dtype)
    return [speed_table.own_line(
        row, "time of a skewed step", "balanced step",
        list(results.values()), "time_over_balanced", SKEW)]


class Usage(Exception):
  """Something was typed wrongly."""


class Parser(argparse.ArgumentParser):

  def error(self, message):
    raise Usage(message)


def parse_arguments():
  parser = Parser(add_help=False, allow_abbrev=False)
  parser.add_argument("--rows", default="*")
  parser.add_argument("--list-rows", action="store_true")
  parser.add_argument("--rounds", type=int)
  parser.add_argument("--seconds", type=float)
  parser.add_argument("--quick", action="store_true")
  parser.add_argument("--tiny", action="store_true")
  parser.add_argument("--json", action="store_true")
  parser.add_argument("--build", type=pathlib.Path, required=True)
  parser.add_argument("--against", type=pathlib.Path)
  options = parser.parse_args()
  if options.rounds is None:
    options.rounds = 2 if options.quick else 5
  if options.seconds is None:
    options.seconds = 0.05 if options.tiny else 3 if options.quick else 8
  if options.rounds < 1:
    raise Usage(f"--rounds is {options.rounds}, must be at least 1")
  if not 0 < options.seconds < float("inf"):
    raise Usage(f"--seconds is {options.seconds:g}, must be finite and "
                "greater than 0")
  return options


def chosen(names, patterns):
  """The names that one of the patterns matches, in their own order."""
  for pattern in patterns:
    if not fnmatch.filter(names, pattern):
      raise Usage(f"--rows: there is no row '{pattern}'; there are "
                  f"{', '.join(names)}")
  return [n for n in names if any(fnmatch.fnmatch(n, p) for p in patterns)]


def run(options):
  rows = Comparison(options).rows()
  if options.list_rows:
    print("\n".join(rows))
    return
  names = chosen(list(rows), options.rows.split(","))
  load = os.getloadavg()[0]
  if load > 0.5:
    say(f"the load is {load:.1f} before this begins: the other work of this "
        "machine is in what follows")
  lines = []
  for name in names:
    found = rows[name](name)
    lines += found
    if options.json:
      for line in found:
        print(line.as_json(), flush=True)
  if not options.json:
    print(speed_table.table(lines))


def main():
  try:
    run(parse_arguments())
  except Usage as usage:
    say(str(usage))
    sys.exit(64)
  except (Failure, speed_table.NoNumber) as failure:
    say(str(failure))
    sys.exit(70)
  except BrokenPipeError:  # who read this has gone, and needs no word of it
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(74)
  except KeyboardInterrupt:
    sys.exit(130)


if __name__ == "__main__":
  main()
