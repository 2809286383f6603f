"""What every comparison with transformers needs: names, loss, precision.

transformers 5 keeps a layer's experts as two fused tensors; files on the Hub,
and ours, have one tensor a projection and expert ("classic" names):

    mlp.gate.weight              block_sparse_moe.gate.weight          [E, D]
    mlp.experts.gate_up_proj     block_sparse_moe.experts.N.w1.weight  [F, D]
      [E, 2F, D], gate first     block_sparse_moe.experts.N.w3.weight  [F, D]
    mlp.experts.down_proj        block_sparse_moe.experts.N.w2.weight  [D, F]
      [E, D, F]
"""

import contextlib
import math
import os
import re

# Nothing here may look for a model on the network.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import torch  # noqa: E402
from transformers.models.mixtral import modeling_mixtral  # noqa: E402

_FUSED = re.compile(r"^(model\.layers\.\d+\.)mlp\.(.+)$")


def classic_tensors(named):
  """Renames and splits {in-memory name: tensor} into the Hub's classic form.

  Args:
    named: tensors (weights, or gradients of the same shapes) by the names of
      MixtralForCausalLM.named_parameters().

  Returns:
    A dictionary of contiguous tensors by classic name.
  """
  result = {}
  for name, tensor in named.items():
    match = _FUSED.match(name)
    if not match:
      result[name] = tensor.contiguous()
      continue
    layer, rest = match.groups()
    prefix = layer + "block_sparse_moe."
    if rest == "experts.gate_up_proj":
      for e, both in enumerate(tensor):
        w1, w3 = both.chunk(2, dim=0)
        result[f"{prefix}experts.{e}.w1.weight"] = w1.contiguous()
        result[f"{prefix}experts.{e}.w3.weight"] = w3.contiguous()
    elif rest == "experts.down_proj":
      for e, w2 in enumerate(tensor):
        result[f"{prefix}experts.{e}.w2.weight"] = w2.contiguous()
    else:
      result[prefix + rest] = tensor.contiguous()
  return result


def cross_entropy(model, tokens, num_targets):
  """Runs the model on [B, L+1] tokens.

  Returns:
    The sum of the next tokens' cross-entropies over num_targets, the logits
    [B, L, V], and the layers' router logits, each [B*L, E].
  """
  inputs, targets = tokens[:, :-1], tokens[:, 1:]
  output = model.model(
      input_ids=inputs, output_router_logits=True, use_cache=False)
  logits = model.lm_head(output.last_hidden_state)
  loss = torch.nn.functional.cross_entropy(
      logits.flatten(0, 1), targets.flatten(), reduction="sum")
  return loss / num_targets, logits, output.router_logits


def auxiliary_loss(config, router_logits):
  """transformers' own auxiliary loss of one micro-batch, not yet weighted."""
  return modeling_mixtral.load_balancing_loss_func(
      tuple(router_logits), config.num_local_experts,
      config.num_experts_per_tok)


def check_auxiliary_loss():
  """Refuses a transformers whose auxiliary loss applies softmax twice.

  Some releases hand probabilities to a function that takes logits. A router
  that sends every token to expert 0 with certainty tells them apart: E with
  one softmax, E e / (e + E - 1) with two. Zero logits must give top_k, and
  the gradient must be that of one softmax.
  """
  num_experts, top_k = 4, 2

  def loss(logits):
    return modeling_mixtral.load_balancing_loss_func(
        (logits,), num_experts, top_k)

  uniform = loss(torch.zeros(6, num_experts)).item()
  if abs(uniform - top_k) > 1e-6:
    raise SystemExit(f"auxiliary loss of a uniform router is {uniform}, "
                     f"must be top_k ({top_k})")
  certain = torch.full((6, num_experts), -50.0)
  certain[:, 0] = 50.0
  value = modeling_mixtral.load_balancing_loss_func(
      (certain,), num_experts, 1).item()
  if abs(value - num_experts) > 1e-5:
    raise SystemExit(f"auxiliary loss of a router that is certain is {value}, "
                     f"must be the number of experts ({num_experts}): this "
                     "transformers applies softmax twice")
  # dloss/dlogit_t,e = E/T * p_e * (f_e - sum_i f_i p_i), f from the counts.
  logits = torch.randn(
      6, num_experts, generator=torch.Generator().manual_seed(1))
  logits.requires_grad_(True)
  loss(logits).backward()
  p = logits.detach().softmax(-1)
  f = torch.zeros_like(p).scatter_(1, p.topk(top_k, -1).indices, 1.0).mean(0)
  expected = num_experts / len(p) * p * (f - (p * f).sum(-1, keepdim=True))
  if not torch.allclose(logits.grad, expected, atol=1e-6):
    raise SystemExit("the auxiliary loss's gradient is not that of one softmax")


def check_model_auxiliary_loss(model):
  """Refuses a model whose recorded router logits are not the gate's own.

  The double softmax of those releases came from the recorder (it kept
  probabilities under the name of logits), so the function alone proves
  nothing: logits of one token must be gate.weight times its input.
  """
  gate = model.model.layers[0].mlp.gate
  inputs = []
  handle = gate.register_forward_pre_hook(
      lambda module, arguments: inputs.append(arguments[0].detach()))
  with torch.no_grad():
    tokens = torch.arange(4).remainder(model.config.vocab_size)[None]
    output = model.model(
        input_ids=tokens, output_router_logits=True, use_cache=False)
  handle.remove()
  rows = inputs[0].reshape(-1, gate.weight.shape[1])
  if not torch.allclose(
      output.router_logits[0], rows @ gate.weight.T, rtol=1e-4, atol=1e-5):
    raise SystemExit("the recorded router logits are not gate.weight * x: this "
                     "transformers applies softmax twice")


def make_optimizer(model, beta1, beta2, epsilon, weight_decay):
  """AdamW with decay on matrices (fused experts are 3-D) and none on norms."""
  matrices = [p for p in model.parameters() if p.ndim >= 2]
  vectors = [p for p in model.parameters() if p.ndim < 2]
  groups = [
      dict(params=matrices, weight_decay=weight_decay),
      dict(params=vectors, weight_decay=0.0),
  ]
  return torch.optim.AdamW(
      groups, lr=0.0, betas=(beta1, beta2), eps=epsilon, foreach=True)


def update(model, optimizer, learning_rate, clip_norm):
  """Clips, steps and clears; returns the gradient's norm before clipping."""
  limit = clip_norm if clip_norm > 0 else math.inf
  norm = torch.nn.utils.clip_grad_norm_(model.parameters(), limit)
  for group in optimizer.param_groups:
    group["lr"] = learning_rate
  optimizer.step()
  optimizer.zero_grad(set_to_none=True)
  return norm.item()


class _DoubleTorch:
  """torch, but that its float32 is float64."""

  float32 = torch.float64
  float = torch.float64

  def __getattr__(self, name):
    return getattr(torch, name)


@contextlib.contextmanager
def float64_everywhere():
  """Lets transformers' Mixtral, unchanged, compute in float64 throughout.

  model.double() alone would not: norms, softmax, rotary angles and the
  auxiliary loss are cast to float32 by name. Inside this context the names
  torch.float32 and Tensor.float in its module mean float64. Build the model
  inside it too (rotary frequencies are made once).
  """
  own_float = torch.Tensor.float
  own_default = torch.get_default_dtype()
  modeling_mixtral.torch = _DoubleTorch()
  torch.Tensor.float = torch.Tensor.double
  torch.set_default_dtype(torch.float64)
  try:
    yield
  finally:
    modeling_mixtral.torch = torch
    torch.Tensor.float = own_float
    torch.set_default_dtype(own_default)


def relative_difference(ours, theirs):
  """Norm of the difference over the norm, in float64."""
  ours, theirs = ours.double(), theirs.double()
  norm = theirs.norm().item()
  difference = (ours - theirs).norm().item()
  return difference / norm if norm > 0 else difference
