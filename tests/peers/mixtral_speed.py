#!/usr/bin/env python3
"""How fast transformers trains a Mixtral on this processor.

    mixtral_speed.py --model '{"hidden_size": 512, ...}' [--experts grouped_mm]
        [--compile] [--dtype bfloat16 [--weights bfloat16]] [--threads N]
        [--sequences N] [--length N] [--seconds S] [--aux-loss-coefficient C]

--model holds keys of MixtralConfig. Trains on random tokens: forward, backward,
clipping, fused AdamW. Says that it is ready when the first steps, which compile
and allocate, are over; then, for each line on standard input, runs steps for
--seconds and prints a JSON object: step_seconds (of each step),
tokens_per_second (by their median), peak_memory_bytes (of the process so far)
and loss. It ends with its input, so that who measures something else in turns
with it keeps it waiting in between.

--dtype bfloat16 is autocast over float32 weights, as its users train. With
--weights bfloat16 the weights and AdamW's moments are bfloat16 too: faster, but
without float32 master weights small updates are lost.
"""

import argparse
import json
import os
import statistics
import sys
import time


def parse_arguments():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument("--model", type=json.loads, required=True)
  parser.add_argument(
      "--experts", choices=["eager", "grouped_mm"], default="grouped_mm")
  parser.add_argument("--compile", action="store_true")
  parser.add_argument(
      "--dtype", choices=["float32", "bfloat16"], default="float32")
  parser.add_argument(
      "--weights", choices=["float32", "bfloat16"], default="float32")
  parser.add_argument("--threads", type=int, default=1)
  parser.add_argument("--sequences", type=int, default=4)
  parser.add_argument("--length", type=int, default=512)
  parser.add_argument("--seconds", type=float, default=5)
  parser.add_argument("--aux-loss-coefficient", type=float, default=0.01)
  return parser.parse_args()


args = parse_arguments()
# Read when the libraries are loaded.
os.environ["OMP_NUM_THREADS"] = str(args.threads)

import mixtral_peer  # noqa: E402, F401: keeps transformers off the network
import torch  # noqa: E402
import transformers  # noqa: E402

# Steps before those that count; torch.compile compiles again in the second.
WARM_UP_STEPS = 3
LEAST_STEPS = 2


def peak_memory_bytes():
  with open("/proc/self/status", encoding="ascii") as status:
    for line in status:
      if line.startswith("VmHWM:"):
        return int(line.split()[1]) * 1024
  return 0


class Training:
  """The model, its optimizer and what they were asked to be."""

  def __init__(self):
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    config = transformers.MixtralConfig(
        **args.model,
        max_position_embeddings=args.length,
        output_router_logits=True,
        router_aux_loss_coef=args.aux_loss_coefficient,
        use_cache=False,
        attn_implementation="sdpa")
    model = transformers.MixtralForCausalLM(config).train()
    model.set_experts_implementation(args.experts)
    if args.weights == "bfloat16":
      model = model.to(torch.bfloat16)
    self.vocab_size = config.vocab_size
    self.parameters = list(model.parameters())
    self.optimizer = torch.optim.AdamW(
        self.parameters, lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1,
        fused=True)
    self.model = torch.compile(model) if args.compile else model
    self.autocast = args.dtype == "bfloat16" and args.weights == "float32"

  def step(self):
    """Returns seconds and loss."""
    ids = torch.randint(0, self.vocab_size, (args.sequences, args.length))
    begin = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
      loss = self.model(input_ids=ids, labels=ids).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
    self.optimizer.step()
    self.optimizer.zero_grad(set_to_none=True)
    return time.perf_counter() - begin, loss.item()

  def measure(self):
    seconds = []
    loss = None
    while len(seconds) < LEAST_STEPS or sum(seconds) < args.seconds:
      step_seconds, loss = self.step()
      seconds.append(step_seconds)
    tokens = args.sequences * args.length
    return dict(
        step_seconds=seconds,
        tokens_per_second=tokens / statistics.median(seconds),
        peak_memory_bytes=peak_memory_bytes(),
        loss=loss)


def main():
  training = Training()
  for _ in range(WARM_UP_STEPS):
    training.step()
  print(json.dumps(dict(
      ready=True,
      parameters=sum(p.numel() for p in training.parameters),
      torch=torch.__version__,
      transformers=transformers.__version__)), flush=True)
  for _ in sys.stdin:
    print(json.dumps(training.measure()), flush=True)


if __name__ == "__main__":
  main()
