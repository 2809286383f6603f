#include "moe/parameters/weights.h"

#include <algorithm>

#include "comm/base/check.h"
#include "comm/base/philox.h"
#include "comm/base/status_macros.h"

namespace moe {
namespace {

// Binds parameters as the layers use them.
class Binder {
 public:
  Binder(const ModelConfig& model, const ParameterTable& table,
         const ParameterStorage& storage)
      : model_(model), table_(table), storage_(storage) {}

  const Parameter& Get(Role role, int layer = -1, int expert = -1) const {
    const int index = table_.Find(role, layer, expert);
    CHECK(index >= 0);
    return table_.parameters()[static_cast<size_t>(index)];
  }

  // The tensor of all parameters from the first to the last, which must lie
  // side by side.
  Tensor From(const Parameter& first, const Parameter& last,
              std::initializer_list<int64_t> shape) const {
    const Tensor arena = storage_.arena(first.arena);
    if (arena.is_null()) return Tensor();
    const int64_t size = Tensor(nullptr, shape, arena.dtype()).size();
    CHECK(first.local && last.local && first.arena == last.arena);
    CHECK(first.offset + size == last.offset + last.slice.size());
    return arena.Rows(first.offset, size).Reshape(shape);
  }
  Tensor Whole(Role role, int layer = -1) const {
    return storage_.Get(Get(role, layer));
  }

  LayerWeights Layer(int layer) const;

 private:
  const ModelConfig& model_;
  const ParameterTable& table_;
  const ParameterStorage& storage_;
};

LayerWeights Binder::Layer(int layer) const {
  const int64_t width = model_.hidden_size();
  const int64_t hidden = model_.intermediate_size();
  const int64_t experts = table_.local_experts();
  const int first = table_.first_expert();
  const int last = first + table_.local_experts() - 1;
  const Parameter& query = Get(Role::kQuery, layer);
  const Parameter& value = Get(Role::kValue, layer);
  const int64_t qkv_width = query.slice.num_rows + 2 * value.slice.num_rows;
  return {
      .input_norm_D = Whole(Role::kInputNorm, layer),
      .qkv_CD = From(query, value, {qkv_width, width}),
      .o_DA = Whole(Role::kAttentionOutput, layer),
      .post_attention_norm_D = Whole(Role::kPostAttentionNorm, layer),
      .gate_ED = Whole(Role::kRouter, layer),
      .gate_up_eGD =
          From(Get(Role::kExpertGate, layer, first),
               Get(Role::kExpertUp, layer, last), {experts, 2 * hidden, width}),
      .down_eDF =
          From(Get(Role::kExpertDown, layer, first),
               Get(Role::kExpertDown, layer, last), {experts, width, hidden}),
  };
}

// Nothing for an empty arena.
absl::StatusOr<Buffer> AllocateArena(DeviceContext& context, int64_t size,
                                     DType dtype) {
  if (size == 0) return Buffer();
  absl::StatusOr<Buffer> buffer = context.Allocate(size * SizeOf(dtype));
  if (!buffer.ok()) return Annotate(buffer.status(), "memory for parameters");
  return buffer;
}

}  // namespace

absl::StatusOr<ParameterStorage> ParameterStorage::AllocateWeights(
    const ParameterTable& table, DeviceContext& context) {
  ParameterStorage storage;
  for (ArenaKind kind : kAllArenaKinds) {
    const DType dtype = table.ArenaDType(kind);
    const int64_t size = table.ArenaSize(kind);
    ASSIGN_OR_RETURN(storage.buffers_[Index(kind)],
                     AllocateArena(context, size, dtype));
    storage.arenas_[Index(kind)] =
        Tensor(storage.buffers_[Index(kind)].data(), {size}, dtype);
  }
  return storage;
}

absl::StatusOr<ParameterStorage> ParameterStorage::AllocateGradients(
    const ParameterTable& table, DeviceContext& context) {
  ParameterStorage storage;
  for (ArenaKind kind : kAllArenaKinds) {
    const int64_t size = IsTrained(kind) ? table.ArenaSize(kind) : 0;
    ASSIGN_OR_RETURN(storage.buffers_[Index(kind)],
                     AllocateArena(context, size, DType::kFloat32));
    storage.arenas_[Index(kind)] =
        Tensor(storage.buffers_[Index(kind)].data(), {size}, DType::kFloat32);
  }
  return storage;
}

Tensor ParameterStorage::Get(const Parameter& parameter) const {
  CHECK(parameter.local);
  const Slice& slice = parameter.slice;
  const Tensor all = arena(parameter.arena);
  if (all.is_null()) return Tensor();
  const Tensor flat = all.Rows(parameter.offset, slice.size());
  return parameter.shape.size() == 1
             ? flat
             : flat.Reshape({slice.num_rows, slice.num_columns});
}

ModelWeights BindWeights(const ModelConfig& model, const ParameterTable& table,
                         const ParameterStorage& storage) {
  const Binder binder(model, table, storage);
  ModelWeights weights;
  weights.first_id = binder.Get(Role::kEmbedding).slice.first_row;
  weights.embedding_VD = binder.Whole(Role::kEmbedding);
  for (int layer = 0; layer < model.num_hidden_layers(); ++layer)
    weights.layers.push_back(binder.Layer(layer));
  weights.norm_D = binder.Whole(Role::kFinalNorm);
  weights.head_VD = model.tie_word_embeddings() ? weights.embedding_VD
                                                : binder.Whole(Role::kHead);
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
