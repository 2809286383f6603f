"""Tiny Mixtral directories as other writers leave them, each saying something
else beside its tensors. The same bytes on every machine, without torch: what
transformers computes of them is in tests/golden/foreign_losses.json.

    foreign_checkpoints.py DIRECTORY    writes all of ACCEPTED there
"""

import copy
import json
import math
import os
import pathlib
import struct
import sys
import zlib

CONFIG = {
    "architectures": ["MixtralForCausalLM"],
    "model_type": "mixtral",
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "head_dim": None,
    "hidden_act": "silu",
    "hidden_size": 32,
    "initializer_range": 0.02,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
    "num_attention_heads": 4,
    "num_experts_per_tok": 2,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "num_local_experts": 4,
    "pad_token_id": None,
    "rms_norm_eps": 1e-05,
    "rope_theta": 1000000.0,
    "router_aux_loss_coef": 0.001,
    "router_jitter_noise": 0.0,
    "sliding_window": None,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "vocab_size": 64,
}
LENGTH = 16  # of the sequences that losses are of


def shapes(config):
  """Name and shape of each tensor under the classic names."""
  c = config
  width, hidden = c["hidden_size"], c["intermediate_size"]
  head = c["head_dim"] or width // c["num_attention_heads"]
  queries, keys = head * c["num_attention_heads"], head * c["num_key_value_heads"]
  yield "model.embed_tokens.weight", [c["vocab_size"], width]
  for layer in range(c["num_hidden_layers"]):
    at = f"model.layers.{layer}."
    yield at + "input_layernorm.weight", [width]
    yield at + "post_attention_layernorm.weight", [width]
    yield at + "self_attn.q_proj.weight", [queries, width]
    yield at + "self_attn.k_proj.weight", [keys, width]
    yield at + "self_attn.v_proj.weight", [keys, width]
    yield at + "self_attn.o_proj.weight", [width, queries]
    moe = at + "block_sparse_moe."
    yield moe + "gate.weight", [c["num_local_experts"], width]
    for expert in range(c["num_local_experts"]):
      yield f"{moe}experts.{expert}.w1.weight", [hidden, width]
      yield f"{moe}experts.{expert}.w2.weight", [width, hidden]
      yield f"{moe}experts.{expert}.w3.weight", [hidden, width]
  yield "model.norm.weight", [width]
  if not c["tie_word_embeddings"]:
    yield "lm_head.weight", [c["vocab_size"], width]


def size(shape):
  count = 1
  for dim in shape:
    count *= dim
  return count


def values(name, shape):
  """Multiples of 1/64 that bfloat16 and float16 hold exactly."""
  state = zlib.crc32(name.encode())
  out = []
  for _ in range(size(shape)):
    state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
    out.append(((state >> 16) % 41 - 20) / 64)
  return [1 + x for x in out] if "norm" in name else out


def plain(config):
  return {name: (shape, values(name, shape)) for name, shape in shapes(config)}


def to_bytes(numbers, dtype):
  if dtype == "BF16":
    return b"".join(struct.pack("<f", x)[2:] for x in numbers)
  code = {"F32": "f", "F16": "e"}[dtype]
  return struct.pack(f"<{len(numbers)}{code}", *numbers)


def write_safetensors(path, tensors, dtype="F32"):
  header, body = {"__metadata__": {"format": "pt"}}, b""
  for name, (shape, numbers) in tensors.items():
    data = to_bytes(numbers, dtype)
    header[name] = {"dtype": dtype, "shape": shape,
                    "data_offsets": [len(body), len(body) + len(data)]}
    body += data
  text = json.dumps(header).encode()
  text += b" " * (-len(text) % 8)
  path.write_bytes(struct.pack("<Q", len(text)) + text + body)


def write_shards(directory, tensors):
  names = sorted(tensors)
  places = {}
  for number in range(3):
    part = f"model-{number + 1:05}-of-00003.safetensors"
    chosen = names[number::3]
    write_safetensors(directory / part, {n: tensors[n] for n in chosen})
    places.update((n, part) for n in chosen)
  (directory / "model.safetensors.index.json").write_text(
      json.dumps({"metadata": {"total_size": 0}, "weight_map": places}))


def stack(tensors):
  """As transformers 5 holds the experts in memory."""
  out, stacks = {}, {}
  for name, (shape, numbers) in tensors.items():
    at, _, rest = name.partition("block_sparse_moe.")
    if not rest:
      out[name] = (shape, numbers)
    elif rest == "gate.weight":
      out[at + "mlp.gate.weight"] = (shape, numbers)
    else:
      _, expert, matrix, _ = rest.split(".")
      stacks.setdefault((at, int(expert)), {})[matrix] = (shape, numbers)
  for (at, _), matrices in stacks.items():
    for key, parts in (("gate_up_proj", ("w1", "w3")), ("down_proj", ("w2",))):
      name = f"{at}mlp.experts.{key}"
      rows = sum(matrices[p][0][0] for p in parts)
      columns = matrices[parts[0]][0][1]
      shape, numbers = out.setdefault(name, ([0, rows, columns], []))
      shape[0] += 1
      for part in parts:
        numbers.extend(matrices[part][1])
  return out


def add_frequencies(tensors, theta=1e6, key="inv_freq"):
  for layer in range(2):
    tensors[f"model.layers.{layer}.self_attn.rotary_emb.{key}"] = (
        [4], [theta ** (-2 * i / 8) for i in range(4)])


def add_circles(tensors, theta=1e6):
  """Cosines and sines of the first positions, as older writers stored them."""
  for key, function in (("cos_cached", math.cos), ("sin_cached", math.sin)):
    tensors[f"model.layers.0.self_attn.rotary_emb.{key}"] = (
        [1, 1, LENGTH, 8],
        [function(t * theta ** (-2 * (i % 4) / 8))
         for t in range(LENGTH) for i in range(8)])


def tie(tensors, change=0):
  shape, numbers = tensors["model.embed_tokens.weight"]
  tensors["lm_head.weight"] = (shape, numbers[:-1] + [numbers[-1] + change])


def v5_rope(config, theta):
  del config["rope_theta"]
  config["rope_parameters"] = {"rope_type": "default", "rope_theta": theta}


def poison(tensors, name, value):
  shape, numbers = tensors[name]
  tensors[name] = (shape, numbers[:70] + [value] + numbers[71:])


def remove(key):
  return lambda config: config.pop(key)


class Variant:
  """A directory. `config` changes config.json, `tensors` the tensors."""

  def __init__(self, config=None, tensors=None, write=None, files=None, **keys):
    self.keys, self.change = keys, config
    self.tensors, self.write_weights = tensors, write
    self.files = files or {}

  def write(self, directory):
    directory.mkdir(parents=True)
    config = copy.deepcopy(CONFIG)
    config.update(self.keys)
    tensors = plain(config)
    if self.change:
      self.change(config)
    if self.tensors:
      tensors = self.tensors(tensors) or tensors
    (directory / "config.json").write_text(json.dumps(config, indent=2))
    for name, text in self.files.items():
      (directory / name).write_text(text)
    if self.write_weights:
      self.write_weights(directory, tensors)
    else:
      write_safetensors(directory / "model.safetensors", tensors)


def in_dtype(dtype):
  return lambda directory, tensors: write_safetensors(
      directory / "model.safetensors", tensors, dtype)


# What transformers and we compute alike.
ACCEPTED = {
    "plain": Variant(),
    "rope_theta": Variant(rope_theta=10000.0),
    "rope_parameters": Variant(config=lambda c: v5_rope(c, 500.0)),
    "rope_default": Variant(config=remove("rope_theta")),
    "heads": Variant(num_attention_heads=8, num_key_value_heads=4),
    "head_dim": Variant(head_dim=16),
    "eps": Variant(rms_norm_eps=0.1),
    "top_1": Variant(num_experts_per_tok=1),
    "top_4": Variant(num_experts_per_tok=4),
    "one_expert": Variant(num_local_experts=1, num_experts_per_tok=1),
    "tied": Variant(tie_word_embeddings=True),
    "tied_stored": Variant(tie_word_embeddings=True, tensors=tie),
    "bfloat16": Variant(write=in_dtype("BF16"), torch_dtype="bfloat16"),
    "float16": Variant(write=in_dtype("F16"), torch_dtype="float16"),
    "shards": Variant(write=write_shards),
    "frequencies": Variant(tensors=add_frequencies),
    "circles": Variant(tensors=add_circles),
    "window": Variant(sliding_window=LENGTH),
    "dropout": Variant(attention_dropout=0.1, router_jitter_noise=0.01),
    "ends": Variant(
        eos_token_id=[7, 2], bos_token_id=5, pad_token_id=0,
        files={"generation_config.json":
               json.dumps({"eos_token_id": [7, 2, 9], "top_p": 0.9})}),
}

LINEAR = {"type": "linear", "factor": 2.0}
YARN = {"rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0}
# What is refused: what the message has, beside the directory.
REFUSED = {
    "linear": ("rope_scaling.rope_type is \"linear\"",
               Variant(rope_scaling=LINEAR)),
    "yarn": ("rope_parameters.rope_type is \"yarn\"",
             Variant(config=lambda c: (c.pop("rope_theta"),
                                       c.update(rope_parameters=YARN)))),
    "two_thetas": ("must be the same",
                   Variant(rope_parameters={"rope_type": "default",
                                            "rope_theta": 5e5})),
    "partial": ("partial_rotary_factor is 0.5",
                Variant(partial_rotary_factor=0.5)),
    "short_window": ("sliding_window is 8", Variant(sliding_window=8)),
    "quantized": ("quantization_config", Variant(
        quantization_config={"quant_method": "gptq", "bits": 4})),
    "gelu": ("hidden_act is \"gelu\"", Variant(hidden_act="gelu")),
    "bias": ("attention_bias is true", Variant(attention_bias=True)),
    "other": ("model_type is \"llama\"", Variant(model_type="llama")),
    "no_heads": ("num_attention_heads is missing",
                 Variant(config=remove("num_attention_heads"))),
    "other_head": ("lm_head.weight differs from model.embed_tokens.weight",
                   Variant(tie_word_embeddings=True,
                           tensors=lambda t: tie(t, 1))),
    "stored_bias": ("not of this model model.layers.1.self_attn.q_proj.bias",
                    Variant(tensors=lambda t: t.update(
                        {"model.layers.1.self_attn.q_proj.bias":
                         ([32], [1.0] * 32)}))),
    "other_frequencies": ("rotary_emb.inv_freq holds", Variant(
        tensors=lambda t: add_frequencies(t, theta=1e4))),
    "other_circles": ("rotary_emb.cos_cached holds", Variant(
        tensors=lambda t: add_circles(t, theta=1e4))),
    "nan": ("model.layers.1.block_sparse_moe.experts.2.w2.weight holds values "
            "that are not finite, the first (nan) at element 70",
            Variant(tensors=lambda t: poison(
                t, "model.layers.1.block_sparse_moe.experts.2.w2.weight",
                float("nan")))),
    "infinity": ("model.embed_tokens.weight holds values that are not finite",
                 Variant(tensors=lambda t: poison(
                     t, "model.embed_tokens.weight", float("-inf")))),
}


def write_tokens(prefix):
  """Megatron's .bin/.idx of 60 documents."""
  documents = [[6 + (i * 7 + j * j) % 50 for j in range(12)] + [2]
               for i in range(60)]
  starts = [4 * 13 * i for i in range(60)]
  with open(f"{prefix}.bin", "wb") as file:
    for document in documents:
      file.write(struct.pack("<13i", *document))
  with open(f"{prefix}.idx", "wb") as file:
    file.write(b"MMIDIDX\x00\x00" + struct.pack("<QBQQ", 1, 4, 60, 61))
    file.write(struct.pack("<60i", *[13] * 60))
    file.write(struct.pack("<60q", *starts))
    file.write(struct.pack("<61q", *range(61)))
  return [token for document in documents for token in document]


if __name__ == "__main__":
  root = pathlib.Path(sys.argv[1])
  for name, variant in ACCEPTED.items():
    variant.write(root / name)
  write_tokens(os.fspath(root / "tokens"))
