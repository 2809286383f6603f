#!/usr/bin/env python3
"""Does our training follow transformers', step by step?

    loss_curve.py --initial DIR --batches FILE.safetensors
        --metrics metrics.jsonl --beta1 0.9 --beta2 0.95 --epsilon 1e-8
        --weight-decay 0.1 --clip-norm 1 --aux-loss-coefficient 0.01
        [--steps N] [--threads N] [--rounding-run] [--out CURVES.csv]

Trains MixtralForCausalLM in float32 from our initial weights (DIR, a Hugging
Face checkpoint of step 0) on our batches ("tokens" I32 [steps, g, L+1]) with
our settings (the learning rate of each step is read from metrics.jsonl), and
compares its cross-entropy with `loss` of our metrics.jsonl. Ours must come
from router.aux_loss_semantics=HF_MIXTRAL, aux_loss_scope=MICRO_BATCH, one
micro-step a step, log.interval_steps=1.

transformers runs two or three times, side by side (100 steps of 4,096 tokens
of a model with 1 million active parameters: 1.5 minutes on 2 cores):

  whole        one micro-batch of g sequences: the curve ours must follow
  split        the same g in --micro-batches parts with gradient accumulation
               as its users do it: cross-entropy over the step's target count,
               auxiliary loss of each part averaged. The parts' auxiliary
               losses are not that of the whole, so the arithmetic differs a
               little, and the updates with it.
  regrouped    as split, but the expert shares of the auxiliary loss taken
               from the whole batch: the same arithmetic as `whole`, added up
               in another order. Rounding alone. (With --rounding-run; shown,
               never judged.)

Spread at a step = |split - whole|, its largest value so far (curves that cross
agree by chance), at least 1e-5 of the loss (float32). Training is chaotic: at
a learning rate of 2e-3 rounding alone, which is invisible up to step 10, parts
two runs of transformers by 2e-2 from step 30 on, and by no more later.

What must hold:
  1. first step (same weights, same batch): loss, aux_loss and grad_norm agree
     to 1e-5, 1e-5 and 1e-4;
  2. means over windows of 20 steps agree to 0.5 %;
  3. every step's |ours - whole| is at most three times the spread, which is one
     draw itself: on other data, or another processor, it was 2.07 times at one
     step of 100.

Prints the curves as CSV on standard output (or --out) and the verdict on
standard error. Exit code 0 if all hold, 1 if not, 2 for unusable input.
"""

import argparse
import concurrent.futures
import csv
import json
import multiprocessing
import os
import pathlib
import sys

import mixtral_peer as peer
import safetensors.torch
import torch
import transformers

WINDOW = 20
WINDOW_LIMIT = 5e-3
SPREAD_FACTOR = 3
# A float32 sum over thousands of tokens is not better than this.
ROUNDING = 1e-5
FIRST_STEP_LIMITS = dict(loss=1e-5, aux_loss=1e-5, grad_norm=1e-4)


def fail(text):
  print(f"loss_curve.py: {text}", file=sys.stderr)
  sys.exit(2)


def read_metrics(path, num_steps):
  """The training lines of steps 1..num_steps, in order."""
  lines = {}
  with open(path, encoding="utf-8") as file:
    for text in file:
      line = json.loads(text)
      if "step" in line and "loss" in line:
        lines[line["step"]] = line
  missing = [s for s in range(1, num_steps + 1) if s not in lines]
  if missing:
    fail(f"{path} has no line of step {missing[0]}; log.interval_steps=1 and "
         f"{num_steps} steps are needed")
  for step in range(1, num_steps + 1):
    # Nothing that is compared with what has no order is found to be too large.
    loss = lines[step]["loss"]
    if not isinstance(loss, (int, float)) or not abs(loss) < float("inf"):
      fail(f"{path}: the loss of step {step} is {loss}, must be finite")
  return [lines[s] for s in range(1, num_steps + 1)]


def whole_batch_shares(config, model, parts):
  """How often each expert is chosen over all parts and layers, [E], and rows.

  Routing does not depend on the parts, so a pass without gradients gives the
  numbers that a whole batch's auxiliary loss would use.
  """
  counts = torch.zeros(config.num_local_experts)
  num_rows = 0
  with torch.no_grad():
    for part in parts:
      _, _, layers = peer.cross_entropy(model, part, 1)
      for logits in layers:
        chosen = logits.softmax(-1).topk(config.num_experts_per_tok, -1).indices
        counts += torch.bincount(
            chosen.flatten(), minlength=config.num_local_experts)
        num_rows += logits.shape[0]
  return counts / num_rows, num_rows


def train_step(model, tokens, num_parts, regrouped, coefficient):
  """Accumulates one step's gradients; returns cross-entropy and aux loss."""
  config = model.config
  parts = tokens.tensor_split(num_parts)
  num_targets = tokens[:, 1:].numel()
  if regrouped:
    shares, num_rows = whole_batch_shares(config, model, parts)
  total_loss, total_aux = 0.0, 0.0
  for part in parts:
    loss, _, router_logits = peer.cross_entropy(model, part, num_targets)
    if regrouped:
      sums = sum(logits.softmax(-1).sum(0) for logits in router_logits)
      aux = config.num_local_experts * (shares * sums / num_rows).sum()
    else:
      aux = peer.auxiliary_loss(config, router_logits) / len(parts)
    (loss + coefficient * aux).backward()
    total_loss += loss.item()
    total_aux += aux.item()
  return total_loss, total_aux


def train(arguments, num_parts, regrouped, learning_rates, threads):
  """One run of transformers: a list of {loss, aux_loss, grad_norm}."""
  torch.set_num_threads(threads)
  model = transformers.MixtralForCausalLM.from_pretrained(
      arguments.initial, dtype=torch.float32, attn_implementation="sdpa",
      experts_implementation=arguments.experts,
      local_files_only=True).train()
  peer.check_model_auxiliary_loss(model)
  optimizer = peer.make_optimizer(
      model, arguments.beta1, arguments.beta2, arguments.epsilon,
      arguments.weight_decay)
  batches = safetensors.torch.load_file(arguments.batches)["tokens"]
  curve = []
  for rate, tokens in zip(learning_rates, batches):
    loss, aux = train_step(model, tokens.long(), num_parts, regrouped,
                           arguments.aux_loss_coefficient)
    norm = peer.update(model, optimizer, rate, arguments.clip_norm)
    curve.append(dict(loss=loss, aux_loss=aux, grad_norm=norm))
  return curve


def run_all(arguments, learning_rates):
  """The runs by name, at the same time on shares of the threads."""
  parts = arguments.micro_batches
  runs = dict(whole=(1, False), split=(parts, False))
  if arguments.rounding_run:
    runs["regrouped"] = (parts, True)
  threads = max(1, arguments.threads // len(runs))
  workers = min(len(runs), arguments.threads)
  with concurrent.futures.ProcessPoolExecutor(
      workers, mp_context=multiprocessing.get_context("spawn")) as pool:
    futures = {
        name: pool.submit(train, arguments, *run, learning_rates, threads)
        for name, run in runs.items()}
    return {name: future.result() for name, future in futures.items()}


def spreads(curves):
  """Largest |split - whole| so far, never below float32's rounding."""
  result, largest = [], 0.0
  for split, whole in zip(curves["split"], curves["whole"]):
    largest = max(largest, abs(split["loss"] - whole["loss"]))
    result.append(max(largest, ROUNDING * whole["loss"]))
  return result


def judge(ours, curves):
  """A list of (holds, text), one a promise."""
  whole = curves["whole"]
  verdict = []
  for key, limit in FIRST_STEP_LIMITS.items():
    if key not in ours[0]:
      verdict.append((False, f"step 1: metrics lack {key}"))
      continue
    difference = abs(ours[0][key] / whole[0][key] - 1)
    verdict.append((difference <= limit,
                    f"step 1: {key} {ours[0][key]:.9g}, transformers "
                    f"{whole[0][key]:.9g}, difference {difference:.2g}, "
                    f"limit {limit:g}"))
  for begin in range(0, len(whole), WINDOW):
    window = slice(begin, begin + WINDOW)
    mean = sum(line["loss"] for line in ours[window])
    theirs = sum(line["loss"] for line in whole[window])
    difference = abs(mean / theirs - 1)
    count = len(whole[window])
    verdict.append((difference <= WINDOW_LIMIT,
                    f"steps {begin + 1}-{begin + count}: mean loss "
                    f"{mean / count:.6f}, transformers {theirs / count:.6f}, "
                    f"difference {difference:.2g}, limit {WINDOW_LIMIT:g}"))
  ratios = [abs(a["loss"] - b["loss"]) / s
            for a, b, s in zip(ours, whole, spreads(curves))]
  worst = max(range(len(ratios)), key=lambda s: ratios[s])
  verdict.append((ratios[worst] <= SPREAD_FACTOR,
                  f"every step: worst at step {worst + 1}, "
                  f"{ratios[worst]:.2f} times transformers' own spread, limit "
                  f"{SPREAD_FACTOR:g}; {sum(r > SPREAD_FACTOR for r in ratios)}"
                  f" of {len(ratios)} steps above"))
  return verdict


def write_curves(file, ours, curves):
  """CSV: ours and each run's loss, the spread, and the other columns."""
  writer = csv.writer(file, lineterminator="\n")
  names = list(curves)
  writer.writerow(
      ["step", "ours"] + names + ["spread", "ours_aux_loss", "whole_aux_loss",
                                  "ours_grad_norm", "whole_grad_norm"])
  for index, spread in enumerate(spreads(curves)):
    mine, whole = ours[index], curves["whole"][index]
    row = [mine["loss"]] + [curves[name][index]["loss"] for name in names]
    row += [spread, mine.get("aux_loss"), whole["aux_loss"],
            mine.get("grad_norm"), whole["grad_norm"]]
    writer.writerow([index + 1] + [
        "" if value is None else f"{value:.9g}" for value in row])


def parse_arguments():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  for name in ("initial", "batches", "metrics"):
    parser.add_argument(f"--{name}", type=pathlib.Path, required=True)
  for name in ("beta1", "beta2", "epsilon", "weight-decay", "clip-norm",
               "aux-loss-coefficient"):
    parser.add_argument(f"--{name}", type=float, required=True)
  parser.add_argument("--steps", type=int, default=100)
  parser.add_argument("--threads", type=int,
                      default=len(os.sched_getaffinity(0)))
  parser.add_argument("--micro-batches", type=int, default=2)
  parser.add_argument("--rounding-run", action="store_true")
  parser.add_argument("--experts", choices=["eager", "grouped_mm"],
                      default="grouped_mm")
  parser.add_argument("--out", type=pathlib.Path)
  return parser.parse_args()


def main():
  arguments = parse_arguments()
  peer.check_auxiliary_loss()
  batches = safetensors.torch.load_file(arguments.batches)["tokens"]
  if batches.ndim != 3 or batches.shape[0] < arguments.steps:
    fail(f"{arguments.batches}: tokens are {list(batches.shape)}, must be "
         f"[steps >= {arguments.steps}, g, L+1]")
  if not 2 <= arguments.micro_batches <= batches.shape[1]:
    fail(f"--micro-batches is {arguments.micro_batches}, must be between 2 "
         f"and the {batches.shape[1]} sequences of a step")
  ours = read_metrics(arguments.metrics, arguments.steps)
  curves = run_all(arguments, [line["learning_rate"] for line in ours])
  if arguments.out:
    with open(arguments.out, "w", encoding="utf-8") as file:
      write_curves(file, ours, curves)
  else:
    write_curves(sys.stdout, ours, curves)
  verdict = judge(ours, curves)
  for holds, text in verdict:
    print(("ok    " if holds else "FAIL  ") + text, file=sys.stderr)
  return 0 if all(holds for holds, _ in verdict) else 1


if __name__ == "__main__":
  sys.exit(main())
