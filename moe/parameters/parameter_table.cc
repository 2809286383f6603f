#include "moe/parameters/parameter_table.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "comm/base/check.h"
#include "comm/base/round_up.h"
#include "moe/model_config.h"

namespace moe {
namespace {

Parameter Matrix(std::string name, Role role, int64_t rows, int64_t columns,
                 ArenaKind arena) {
  return {.name = std::move(name),
          .role = role,
          .shape = {rows, columns},
          .arena = arena};
}

Parameter SplitMatrix(std::string name, Role role, int64_t rows,
                      int64_t columns, Split split) {
  Parameter matrix =
      Matrix(std::move(name), role, rows, columns, ArenaKind::kTensor);
  matrix.split = split;
  return matrix;
}

Parameter Norm(std::string name, Role role, int64_t width) {
  return {.name = std::move(name),
          .role = role,
          .shape = {width},
          .arena = ArenaKind::kReplicated,
          .decay = false,
          .is_norm = true};
}

Parameter OfLayer(int layer, Parameter parameter) {
  parameter.layer = layer;
  return parameter;
}

std::string LayerPrefix(int layer) {
  return absl::StrCat("model.layers.", layer, ".");
}

constexpr bool RowsAreInOrder() {
  for (size_t i = 0; i < kNumArenaKinds; ++i) {
    if (Index(kArenaTable[i].kind) != i) return false;
    if (kArenaTable[i].trained != (i < kNumTrainedArenaKinds)) return false;
  }
  return true;
}
static_assert(RowsAreInOrder(), "kArenaTable: in enum order, trained first");

// The kind of frozen parameters that are otherwise of this kind.
ArenaKind FrozenKind(ArenaKind kind) {
  for (const ArenaRow& row : kArenaTable) {
    if (!row.trained && row.reduction_axis == RowOf(kind).reduction_axis &&
        row.dtype == RowOf(kind).dtype)
      return row.kind;
  }
  CHECK(false && "no frozen kind");
  return kind;
}

// The first of the roles whose tensors a layer uses as one with this one's.
Role StackOf(Role role) {
  switch (role) {
    case Role::kKey:
    case Role::kValue:
      return Role::kQuery;
    case Role::kExpertUp:
      return Role::kExpertGate;
    default:
      return role;
  }
}

}  // namespace

Slice SliceOfTensorRank(const Parameter& parameter, int rank, int num_ranks) {
  Slice slice = {.num_rows = parameter.shape[0],
                 .num_columns = parameter.num_columns()};
  auto take_part = [&](int64_t& first, int64_t& num) {
    first = num * rank / num_ranks;
    num = num * (rank + 1) / num_ranks - first;
  };
  if (parameter.split == Split::kRows)
    take_part(slice.first_row, slice.num_rows);
  if (parameter.split == Split::kColumns)
    take_part(slice.first_column, slice.num_columns);
  return slice;
}

ParameterTable::ParameterTable(const ModelConfig& model, DType compute_dtype,
                               const Mesh& mesh, int rank,
                               const TrainedPredicate& trained)
    : compute_dtype_(compute_dtype),
      tensor_ranks_(mesh.tensor()),
      tensor_rank_(mesh.Index(Axis::kTensor, rank)),
      local_experts_(model.num_local_experts() / mesh.expert()) {
  first_expert_ = mesh.Index(Axis::kExpert, rank) * local_experts_;
  const int64_t width = model.hidden_size();
  Add(SplitMatrix("model.embed_tokens.weight", Role::kEmbedding,
                  model.vocab_size(), width, Split::kRows));
  for (int layer = 0; layer < model.num_hidden_layers(); ++layer) {
    const int begin = static_cast<int>(parameters_.size());
    AddAttention(model, layer);
    const int middle = static_cast<int>(parameters_.size());
    AddMoe(model, layer);
    const int end = static_cast<int>(parameters_.size());
    layers_.push_back({{begin, middle}, {middle, end}});
  }
  head_.begin = static_cast<int>(parameters_.size());
  Add(Norm("model.norm.weight", Role::kFinalNorm, width));
  if (!model.tie_word_embeddings())
    Add(SplitMatrix("lm_head.weight", Role::kHead, model.vocab_size(), width,
                    Split::kRows));
  head_.end = static_cast<int>(parameters_.size());
  if (trained) Freeze(trained);
  PlaceInArenas(mesh);
}

absl::Status ParameterTable::CheckTrained() const {
  std::map<std::pair<int, Role>, const Parameter*> first_of_stack;
  for (const Parameter& parameter : parameters_) {
    const auto [found, is_first] = first_of_stack.try_emplace(
        {parameter.layer, StackOf(parameter.role)}, &parameter);
    const Parameter& first = *found->second;
    if (first.trained == parameter.trained) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        first.name, " is ", first.trained ? "trained" : "frozen", " and ",
        parameter.name, " is ", parameter.trained ? "trained" : "frozen",
        ": they must be trained or frozen together"));
  }
  return absl::OkStatus();
}

int ParameterTable::FirstTrained() const {
  const auto first = std::find_if(parameters_.begin(), parameters_.end(),
                                  [](const Parameter& p) { return p.trained; });
  return static_cast<int>(first - parameters_.begin());
}

int ParameterTable::Find(absl::string_view name) const {
  for (size_t i = 0; i < parameters_.size(); ++i)
    if (parameters_[i].name == name) return static_cast<int>(i);
  return -1;
}

int ParameterTable::Find(Role role, int layer, int expert) const {
  const auto of_part = [&](ParameterRange range) {
    for (int i = range.begin; i < range.end; ++i) {
      const Parameter& parameter = parameters_[static_cast<size_t>(i)];
      if (parameter.role == role && parameter.expert == expert) return i;
    }
    return -1;
  };
  if (layer < 0) return role == Role::kEmbedding ? 0 : of_part(head_);
  const int found = of_part(attention(layer));
  return found >= 0 ? found : of_part(moe(layer));
}

void ParameterTable::Add(Parameter parameter) {
  parameter.size = parameter.shape[0] * parameter.num_columns();
  parameter.slice = SliceOfTensorRank(parameter, tensor_rank_, tensor_ranks_);
  parameter.local = parameter.expert < 0 ||
                    (parameter.expert >= first_expert_ &&
                     parameter.expert < first_expert_ + local_experts_);
  parameters_.push_back(std::move(parameter));
}

// q, k and v lie side by side, so that one product makes all three. A rank's
// rows of them are whole heads, and o's columns are the same heads.
void ParameterTable::AddAttention(const ModelConfig& model, int layer) {
  const int64_t width = model.hidden_size();
  const int64_t q_width = model.num_attention_heads() * HeadDim(model);
  const int64_t kv_width = model.num_key_value_heads() * HeadDim(model);
  const std::string prefix = LayerPrefix(layer);
  const auto add = [&](Role role, const char* name, int64_t rows,
                       int64_t columns, Split split) {
    Add(OfLayer(layer, SplitMatrix(prefix + "self_attn." + name + ".weight",
                                   role, rows, columns, split)));
  };
  Add(OfLayer(
      layer, Norm(prefix + "input_layernorm.weight", Role::kInputNorm, width)));
  add(Role::kQuery, "q_proj", q_width, width, Split::kRows);
  add(Role::kKey, "k_proj", kv_width, width, Split::kRows);
  add(Role::kValue, "v_proj", kv_width, width, Split::kRows);
  add(Role::kAttentionOutput, "o_proj", width, q_width, Split::kColumns);
}

// The experts' gate (w1) and up (w3) matrices alternate, so that one product
// makes both; the down matrices (w2) of all experts follow.
void ParameterTable::AddMoe(const ModelConfig& model, int layer) {
  const int64_t width = model.hidden_size();
  const int64_t hidden = model.intermediate_size();
  const std::string prefix = LayerPrefix(layer);
  const std::string moe = prefix + "block_sparse_moe.";
  Add(OfLayer(layer, Norm(prefix + "post_attention_layernorm.weight",
                          Role::kPostAttentionNorm, width)));
  Add(OfLayer(
      layer, Matrix(moe + "gate.weight", Role::kRouter,
                    model.num_local_experts(), width, ArenaKind::kReplicated)));
  auto add = [&](int expert, Role role, const char* name, int64_t rows,
                 int64_t columns) {
    Parameter matrix =
        Matrix(absl::StrCat(moe, "experts.", expert, ".", name, ".weight"),
               role, rows, columns, ArenaKind::kExpert);
    matrix.expert = expert;
    Add(OfLayer(layer, std::move(matrix)));
  };
  for (int expert = 0; expert < model.num_local_experts(); ++expert) {
    add(expert, Role::kExpertGate, "w1", hidden, width);
    add(expert, Role::kExpertUp, "w3", hidden, width);
  }
  for (int expert = 0; expert < model.num_local_experts(); ++expert)
    add(expert, Role::kExpertDown, "w2", width, hidden);
}

void ParameterTable::Freeze(const TrainedPredicate& trained) {
  for (Parameter& parameter : parameters_) {
    parameter.trained = trained(parameter);
    if (!parameter.trained) parameter.arena = FrozenKind(parameter.arena);
  }
}

void ParameterTable::PlaceInArenas(const Mesh& mesh) {
  for (Parameter& parameter : parameters_) {
    if (!parameter.local) continue;
    int64_t& size = arena_sizes_[Index(parameter.arena)];
    parameter.offset = size;
    size += parameter.slice.size();
  }
  for (ArenaKind kind : kAllArenaKinds) {
    int64_t& size = arena_sizes_[Index(kind)];
    size = RoundUp(size, kAlignment * mesh.Size(ReductionAxis(kind)));
  }
}

}  // namespace moe
