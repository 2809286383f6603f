#!/usr/bin/env python3
"""Reads what moe-bench --json prints and looks for what is missing or cannot be.

    check_bench.py RANKS PART... <results

The model has 8 experts, 2 a token, of which half are on each of 2 ranks.
"""

import json
import math
import sys

BASE = ["part", "name", "compute_dtype", "seconds", "runs"]
PRODUCT = ["gflops", "share_of_peak"]
FIELDS = {
    "matmul": PRODUCT + ["rows", "inputs", "outputs"],
    "experts": PRODUCT + [
        "experts", "rows", "dense_seconds", "speed_over_dense"],
    "attention": PRODUCT + ["tokens", "length"],
    "optimizer": PRODUCT + ["elements"],
    "memory": [
        "gbytes_per_second", "array_mib", "copy_seconds", "rate_over_copy",
        "array_over_last_cache"],
    "step": PRODUCT + [
        "ranks", "sequences", "length", "tokens_per_second", "parameters",
        "peak_memory_bytes", "routing_share", "routing_share_with_waiting",
        "stage_share"],
    "skew": PRODUCT + [
        "tokens_per_second", "balanced_seconds", "time_over_balanced",
        "largest_expert_share"],
}
SPREADS = ["balanced", "Zipf(1.2)", "half at one expert", "one expert"]
DIRECTIONS = ["forward", "input gradient", "weight gradient"]
NAMES = {
    "experts": {f"{p} {d}, {s}" for p in ["gate and up", "down", "all"]
                for d in DIRECTIONS for s in SPREADS},
    "memory": {"memcpy", "AdamW", "norm forward", "norm backward",
               "permutation", "combine", "SwiGLU forward", "SwiGLU backward"},
}

failures = 0


def check(truth, *what):
  global failures
  if not truth:
    print("FAIL:", *what)
    failures += 1


def is_near(a, b):
  return math.isclose(a, b, rel_tol=1e-6)


def check_result(result, ranks):
  part = result["part"]
  for field in BASE + FIELDS[part]:
    check(field in result, field, "is missing:", result)
  for field, value in result.items():
    if isinstance(value, (int, float)):
      check(math.isfinite(value) and value >= 0, field, "is", value)
  for field in ["seconds", "runs"]:
    check(result[field] > 0, field, "is", result[field])
  if part == "experts":
    check(is_near(result["speed_over_dense"],
                  result["dense_seconds"] / result["seconds"]), result)
  if part == "skew":
    check(is_near(result["time_over_balanced"],
                  result["seconds"] / result["balanced_seconds"]), result)
    check(is_near(result["largest_expert_share"], 0.5),
          "half of the rows are one expert's:", result)
  if part == "step":
    check_step(result, ranks)


def check_step(result, ranks):
  shares = result["stage_share"]
  check(is_near(sum(shares.values()), 1), "shares do not sum to 1:", shares)
  routing = shares["router"] + shares["dispatch"] + shares["combine"]
  check(is_near(routing, result["routing_share"]), "routing is", routing)
  waiting = result["routing_share_with_waiting"] - routing
  check(-1e-6 <= waiting <= shares["waiting"] + 1e-6, "waited", waiting)
  check(shares["experts"] > 0 and shares["optimizer"] > 0, shares)
  check(result["peak_memory_bytes"] > 4 * result["parameters"], result)
  check(result["ranks"] == ranks, "ranks are", result["ranks"])
  if ranks == 1:
    check("dispatch_bytes" not in result, "a rank alone sends", result)
    return
  # Counts and routing weights are what is beyond the least.
  over = result["dispatch_bytes_over_least"]
  check(1 < over < 1.2, "bytes over the least:", over)
  if "--forced-balance" in sys.argv:
    layers, width = 2, 64
    size = 2 if result["compute_dtype"] == "BFLOAT16" else 4
    tokens = result["sequences"] * result["length"]
    least = 4 * layers * tokens * 2 // 2 * width * size
    check(is_near(over, result["dispatch_bytes"] / least), result)


def main():
  ranks, *parts = [a for a in sys.argv[1:] if not a.startswith("-")]
  results = [json.loads(line) for line in sys.stdin]
  for result in results:
    check_result(result, int(ranks))
  check({r["part"] for r in results} == set(parts), "parts are not", parts)
  for part in parts:
    names = {r["name"] for r in results if r["part"] == part}
    if part in NAMES:
      check(names == NAMES[part], part, "is of", names)
  sys.exit(1 if failures else 0)


if __name__ == "__main__":
  main()
