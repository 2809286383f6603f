#!/usr/bin/env python3
"""Makes the golden numbers that our Mixtral is compared with.

    make_golden.py [--check] [DIRECTORY, default: this script's own]

Writes mixtral_tiny.{safetensors,json} and mixtral_tied.{safetensors,json},
computed by Hugging Face transformers in float64 throughout and rounded once
to float32. With --check it writes nothing and tells (exit code 1) whether the
committed files differ from what it computes; the same versions on the same
type of processor give the same bytes. Needs ../peers/requirements.txt.

A .safetensors holds (F32, classic Hub names, scalars of shape [1]):

    weight/NAME      initial weights, already float32 before the first use
    tokens           I32 [B, L+1]; inputs are all but the last column,
                     targets all but the first
    logits           [B, L, V]
    loss             mean cross-entropy over the B*L targets
    aux_loss         transformers' auxiliary loss of the batch (top-k at
                     balance), unweighted
    total_loss       loss + router_aux_loss_coef * aux_loss
    grad/NAME        gradient of total_loss
    grad_norm        its norm over all parameters
    batches          I32 [steps, B, L+1]; batches[0] is tokens
    step_loss, step_aux_loss, step_grad_norm, step_learning_rate
                     [steps], of AdamW training on the batches in order; norms
                     are those before clipping
    after/NAME       the weights after the last step

The .json beside it holds the configuration (config.json's keys), the
optimizer's settings, versions, the smallest distance between a chosen and an
unchosen expert's probability over all steps (`routing_margin`: far above
float32 rounding, so that no correct implementation may choose otherwise), and
how far transformers itself in float32 is from these numbers
(`float32_difference`, largest over tensors, norm of difference over norm).
"""

import argparse
import json
import pathlib
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "peers"))

import mixtral_peer as peer  # noqa: E402
import safetensors.torch  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402

NUM_STEPS = 10
OPTIMIZER = dict(
    learning_rate=1e-3, warmup_steps=3, decay="CONSTANT", beta1=0.9,
    beta2=0.95, epsilon=1e-8, weight_decay=0.1, clip_norm=1.0)

# No two dimensions alike, few of them a power of two, and heads * head_dim is
# not the width: a transposed or misread shape cannot pass.
VARIANTS = {
    "mixtral_tiny": dict(
        seed=9, batch=3, length=17,
        config=dict(
            vocab_size=61, hidden_size=28, intermediate_size=21,
            num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
            head_dim=8, num_local_experts=6, num_experts_per_tok=2,
            rope_theta=10000.0, tie_word_embeddings=False)),
    "mixtral_tied": dict(
        seed=15, batch=2, length=11,
        config=dict(
            vocab_size=37, hidden_size=18, intermediate_size=10,
            num_hidden_layers=1, num_attention_heads=3, num_key_value_heads=1,
            head_dim=6, num_local_experts=4, num_experts_per_tok=3,
            rope_theta=1000000.0, tie_word_embeddings=True)),
}
COMMON = dict(
    hidden_act="silu", max_position_embeddings=64, initializer_range=0.2,
    rms_norm_eps=1e-5, output_router_logits=True, router_aux_loss_coef=0.02,
    router_jitter_noise=0.0, attention_dropout=0.0, sliding_window=None,
    use_cache=False, bos_token_id=1, eos_token_id=2, pad_token_id=None)


def make_model(config, weights=None, seed=None):
  """A model with the given weights, or with new ones that float32 can hold."""
  keys = dict(config)
  theta = keys.pop("rope_theta")
  model = transformers.MixtralForCausalLM(
      transformers.MixtralConfig(
          **keys,
          rope_parameters=dict(rope_type="default", rope_theta=theta),
          attn_implementation="eager", experts_implementation="eager"))
  generator = torch.Generator().manual_seed(seed) if seed is not None else None
  with torch.no_grad():
    for name, parameter in model.named_parameters():
      if weights is not None:
        parameter.copy_(weights[name])
        continue
      values = torch.randn(
          parameter.shape, generator=generator, dtype=torch.float64)
      # Norms away from 1, so that one left out is seen.
      values = 1.0 + 0.2 * values if parameter.ndim == 1 else 0.2 * values
      parameter.copy_(values.to(torch.float32))
  return model.train()


def routing_margin(config, router_logits):
  """Least distance of the last chosen probability to the first unchosen."""
  k = config.num_experts_per_tok
  margins = []
  for logits in router_logits:
    top = logits.detach().softmax(-1).topk(k + 1, -1).values
    margins.append((top[:, k - 1] - top[:, k]).min().item())
  return min(margins)


def compute(model, batches):
  """Everything the file holds but weights and tokens, and the margin."""
  config = model.config
  results, margin = {}, 1.0
  steps = dict(loss=[], aux_loss=[], grad_norm=[], learning_rate=[])
  optimizer = peer.make_optimizer(
      model, OPTIMIZER["beta1"], OPTIMIZER["beta2"], OPTIMIZER["epsilon"],
      OPTIMIZER["weight_decay"])
  for index, tokens in enumerate(batches.long()):
    loss, logits, router_logits = peer.cross_entropy(
        model, tokens, tokens[:, 1:].numel())
    aux_loss = peer.auxiliary_loss(config, router_logits)
    total = loss + config.router_aux_loss_coef * aux_loss
    total.backward()
    if index == 0:
      gradients = peer.classic_tensors(
          {n: p.grad for n, p in model.named_parameters()})
      results.update({f"grad/{n}": g.clone() for n, g in gradients.items()})
      results.update(
          logits=logits.detach(), loss=loss.detach(),
          aux_loss=aux_loss.detach(), total_loss=total.detach())
    margin = min(margin, routing_margin(config, router_logits))
    rate = OPTIMIZER["learning_rate"] * min(
        1.0, (index + 1) / OPTIMIZER["warmup_steps"])
    norm = peer.update(model, optimizer, rate, OPTIMIZER["clip_norm"])
    for key, value in zip(steps, (loss.item(), aux_loss.item(), norm, rate)):
      steps[key].append(value)
  results.update({
      f"step_{key}": torch.tensor(values, dtype=torch.float64)
      for key, values in steps.items()})
  results["grad_norm"] = results["step_grad_norm"][0]
  after = peer.classic_tensors(
      {n: p.detach() for n, p in model.named_parameters()})
  results.update({f"after/{n}": w for n, w in after.items()})
  return results, margin


def differences(single, double):
  """Largest relative difference of each kind of number."""
  result = {}
  for name in double:
    kind = name.split("/")[0]
    value = peer.relative_difference(single[name], double[name])
    result[kind] = max(result.get(kind, 0.0), value)
  # Two digits: more would be noise of the machine.
  return {kind: float(f"{value:.1e}") for kind, value in result.items()}


def make_variant(directory, name, variant):
  """Computes one variant and writes its two files."""
  config = COMMON | variant["config"]
  generator = torch.Generator().manual_seed(variant["seed"] + 1000)
  batches = torch.randint(
      config["vocab_size"],
      (NUM_STEPS, variant["batch"], variant["length"] + 1),
      generator=generator, dtype=torch.int32)
  with peer.float64_everywhere():
    model = make_model(config, seed=variant["seed"])
    peer.check_model_auxiliary_loss(model)
    weights = {n: p.detach().clone() for n, p in model.named_parameters()}
    double, margin = compute(model, batches)
  single, _ = compute(make_model(config, weights=weights), batches)
  assert single["logits"].dtype == torch.float32
  assert all(t.dtype == torch.float64 for t in double.values())

  tensors = {f"weight/{n}": w for n, w in peer.classic_tensors(weights).items()}
  tensors |= double
  tensors = {n: t.reshape(t.shape or (1,)).to(torch.float32).contiguous()
             for n, t in tensors.items()}
  tensors |= dict(tokens=batches[0].clone(), batches=batches)
  safetensors.torch.save_file(
      tensors, directory / f"{name}.safetensors", metadata=dict(format="pt"))
  facts = dict(
      made_by="tests/golden/make_golden.py, see there for what is stored",
      versions=dict(torch=torch.__version__.split("+")[0],
                    transformers=transformers.__version__),
      seed=variant["seed"], config=dict(model_type="mixtral") | config,
      optimizer=OPTIMIZER, num_steps=NUM_STEPS,
      routing_margin=float(f"{margin:.2e}"),
      float32_difference=differences(single, double))
  (directory / f"{name}.json").write_text(json.dumps(facts, indent=1) + "\n")
  print(f"{name}: loss {double['loss'].item():.7f}, "
        f"aux_loss {double['aux_loss'].item():.7f}, "
        f"grad_norm {double['grad_norm'].item():.6f}, "
        f"margin {margin:.2e}", file=sys.stderr)


def is_same(made, stored):
  """Of two files: bytes, but for how far float32 was off, which depends on the
  processor: there ten times as much or little will do."""
  if made.suffix != ".json":
    return made.read_bytes() == stored.read_bytes()
  a, b = (json.loads(path.read_text()) for path in (made, stored))
  off_a, off_b = a.pop("float32_difference"), b.pop("float32_difference")
  return a == b and off_a.keys() == off_b.keys() and all(
      max(off_a[kind], off_b[kind]) <= 10 * min(off_a[kind], off_b[kind]) + 1e-6
      for kind in off_a)


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument("directory", nargs="?", type=pathlib.Path, default=HERE)
  parser.add_argument("--check", action="store_true")
  arguments = parser.parse_args()
  torch.set_num_threads(1)
  torch.use_deterministic_algorithms(True)
  peer.check_auxiliary_loss()
  with tempfile.TemporaryDirectory() as scratch:
    target = pathlib.Path(scratch) if arguments.check else arguments.directory
    for name, variant in VARIANTS.items():
      make_variant(target, name, variant)
    if not arguments.check:
      return 0
    different = [
        made.name for made in sorted(target.iterdir())
        if not is_same(made, arguments.directory / made.name)]
  for name in different:
    print(f"{name} differs from what is computed now")
  return 1 if different else 0


if __name__ == "__main__":
  sys.exit(main())
