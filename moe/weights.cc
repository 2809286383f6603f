#include "moe/weights.h"

#include <algorithm>

#include "comm/check.h"
#include "comm/philox.h"
#include "comm/status_macros.h"
#include "moe/model_config.h"

namespace moe {
namespace {

// The tensor that begins at `parameter` and runs on through its neighbours.
Tensor From(const ParameterTable& table, const ParameterStorage& storage,
            int parameter, std::initializer_list<int64_t> shape) {
  const Parameter& first = table.parameters()[static_cast<size_t>(parameter)];
  const Tensor arena = storage.arena(first.arena);
  const int64_t size = Tensor(nullptr, shape, arena.dtype()).size();
  CHECK(first.local && first.offset + size <= arena.size());
  return arena.Rows(first.offset, size).Reshape(shape);
}

LayerWeights BindLayer(const ModelConfig& model, const ParameterTable& table,
                       const ParameterStorage& storage, int layer) {
  const int64_t width = model.hidden_size();
  const int64_t hidden = model.intermediate_size();
  const int64_t experts = table.local_experts();
  const int64_t tensor_ranks = table.tensor_ranks();
  const int64_t q_width =
      model.num_attention_heads() / tensor_ranks * HeadDim(model);
  const int64_t kv_width =
      model.num_key_value_heads() / tensor_ranks * HeadDim(model);
  const int attention = table.attention(layer).begin;
  const int moe = table.moe(layer).begin;
  const int gate_up = moe + 2 + 2 * table.first_expert();
  const int down =
      moe + 2 + 2 * model.num_local_experts() + table.first_expert();
  return {
      .input_norm_D = From(table, storage, attention, {width}),
      .qkv_CD =
          From(table, storage, attention + 1, {q_width + 2 * kv_width, width}),
      .o_DA = From(table, storage, attention + 4, {width, q_width}),
      .post_attention_norm_D = From(table, storage, moe, {width}),
      .gate_ED =
          From(table, storage, moe + 1, {model.num_local_experts(), width}),
      .gate_up_eGD =
          From(table, storage, gate_up, {experts, 2 * hidden, width}),
      .down_eDF = From(table, storage, down, {experts, width, hidden}),
  };
}

absl::StatusOr<Buffer> AllocateArena(int64_t size, DType dtype) {
  absl::StatusOr<Buffer> buffer = Buffer::Allocate(size * SizeOf(dtype));
  if (!buffer.ok()) return Annotate(buffer.status(), "memory for parameters");
  return buffer;
}

}  // namespace

absl::StatusOr<ParameterStorage> ParameterStorage::AllocateWeights(
    const ParameterTable& table) {
  ParameterStorage storage;
  for (ArenaKind kind : kAllArenaKinds) {
    const DType dtype = table.ArenaDType(kind);
    const int64_t size = table.ArenaSize(kind);
    ASSIGN_OR_RETURN(storage.buffers_[Index(kind)], AllocateArena(size, dtype));
    storage.arenas_[Index(kind)] =
        Tensor(storage.buffers_[Index(kind)].data(), {size}, dtype);
  }
  return storage;
}

absl::StatusOr<ParameterStorage> ParameterStorage::AllocateGradients(
    const ParameterTable& table) {
  ParameterStorage storage;
  for (ArenaKind kind : kAllArenaKinds) {
    const int64_t size = table.ArenaSize(kind);
    ASSIGN_OR_RETURN(storage.buffers_[Index(kind)],
                     AllocateArena(size, DType::kFloat32));
    storage.arenas_[Index(kind)] =
        Tensor(storage.buffers_[Index(kind)].data(), {size}, DType::kFloat32);
  }
  return storage;
}

Tensor ParameterStorage::Get(const Parameter& parameter) const {
  CHECK(parameter.local);
  const Slice& slice = parameter.slice;
  const Tensor flat =
      arena(parameter.arena).Rows(parameter.offset, slice.size());
  return parameter.shape.size() == 1
             ? flat
             : flat.Reshape({slice.num_rows, slice.num_columns});
}

ModelWeights BindWeights(const ModelConfig& model, const ParameterTable& table,
                         const ParameterStorage& storage) {
  ModelWeights weights;
  const int64_t width = model.hidden_size();
  const Slice& vocabulary = table.parameters()[0].slice;
  weights.first_id = vocabulary.first_row;
  weights.embedding_VD = From(table, storage, table.embedding().begin,
                              {vocabulary.num_rows, width});
  for (int layer = 0; layer < model.num_hidden_layers(); ++layer)
    weights.layers.push_back(BindLayer(model, table, storage, layer));
  weights.norm_D = From(table, storage, table.head().begin, {width});
  weights.head_VD = model.tie_word_embeddings()
                        ? weights.embedding_VD
                        : From(table, storage, table.head().begin + 1,
                               {vocabulary.num_rows, width});
  return weights;
}

void InitialValues(const ModelConfig& model, const Parameter& parameter,
                   uint64_t seed, int64_t begin, absl::Span<float> out) {
  if (parameter.is_norm) {
    std::fill(out.begin(), out.end(), 1.0f);
    return;
  }
  Philox(seed, parameter.name)
      .FillNormal(static_cast<uint64_t>(begin),
                  static_cast<float>(model.initializer_range()), out);
}

void InitialArena(const ModelConfig& model, const ParameterTable& table,
                  ArenaKind kind, uint64_t seed, int64_t begin,
                  absl::Span<float> out) {
  FillArena(table, kind, begin, out,
            [&](const Parameter& parameter, int64_t in_tensor,
                absl::Span<float> part) {
              InitialValues(model, parameter, seed, in_tensor, part);
            });
}

}  // namespace moe
