#include "moe/parameter_table.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "comm/check.h"
#include "comm/round_up.h"
#include "moe/model_config.h"

namespace moe {
namespace {

Parameter Matrix(std::string name, int64_t rows, int64_t columns,
                 ArenaKind arena) {
  return {.name = std::move(name), .shape = {rows, columns}, .arena = arena};
}

Parameter SplitMatrix(std::string name, int64_t rows, int64_t columns,
                      Split split) {
  Parameter matrix = Matrix(std::move(name), rows, columns, ArenaKind::kTensor);
  matrix.split = split;
  return matrix;
}

Parameter Norm(std::string name, int64_t width) {
  return {.name = std::move(name),
          .shape = {width},
          .arena = ArenaKind::kReplicated,
          .decay = false,
          .is_norm = true};
}

}  // namespace

Axis ReductionAxis(ArenaKind kind) {
  switch (kind) {
    case ArenaKind::kReplicated:
      return Axis::kWorld;
    case ArenaKind::kTensor:
      return Axis::kData;
    case ArenaKind::kExpert:
      return Axis::kExpertReplica;
  }
  CHECK(false && "not an ArenaKind");
  return Axis::kWorld;
}

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
                               const Mesh& mesh, int rank)
    : compute_dtype_(compute_dtype),
      tensor_ranks_(mesh.tensor()),
      tensor_rank_(mesh.Index(Axis::kTensor, rank)),
      local_experts_(model.num_local_experts() / mesh.expert()) {
  first_expert_ = mesh.Index(Axis::kExpert, rank) * local_experts_;
  const int64_t width = model.hidden_size();
  Add(SplitMatrix("model.embed_tokens.weight", model.vocab_size(), width,
                  Split::kRows));
  for (int layer = 0; layer < model.num_hidden_layers(); ++layer) {
    const std::string prefix = absl::StrCat("model.layers.", layer, ".");
    const int begin = static_cast<int>(parameters_.size());
    AddAttention(model, prefix);
    const int middle = static_cast<int>(parameters_.size());
    AddMoe(model, prefix);
    const int end = static_cast<int>(parameters_.size());
    layers_.push_back({{begin, middle}, {middle, end}});
  }
  head_.begin = static_cast<int>(parameters_.size());
  Add(Norm("model.norm.weight", width));
  if (!model.tie_word_embeddings())
    Add(SplitMatrix("lm_head.weight", model.vocab_size(), width, Split::kRows));
  head_.end = static_cast<int>(parameters_.size());
  PlaceInArenas(mesh);
}

int ParameterTable::Find(absl::string_view name) const {
  for (size_t i = 0; i < parameters_.size(); ++i)
    if (parameters_[i].name == name) return static_cast<int>(i);
  return -1;
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
void ParameterTable::AddAttention(const ModelConfig& model,
                                  const std::string& prefix) {
  const int64_t width = model.hidden_size();
  const int64_t q_width = model.num_attention_heads() * HeadDim(model);
  const int64_t kv_width = model.num_key_value_heads() * HeadDim(model);
  const std::string attention = prefix + "self_attn.";
  Add(Norm(prefix + "input_layernorm.weight", width));
  Add(SplitMatrix(attention + "q_proj.weight", q_width, width, Split::kRows));
  Add(SplitMatrix(attention + "k_proj.weight", kv_width, width, Split::kRows));
  Add(SplitMatrix(attention + "v_proj.weight", kv_width, width, Split::kRows));
  Add(SplitMatrix(attention + "o_proj.weight", width, q_width,
                  Split::kColumns));
}

// The experts' gate (w1) and up (w3) matrices alternate, so that one product
// makes both; the down matrices (w2) of all experts follow.
void ParameterTable::AddMoe(const ModelConfig& model,
                            const std::string& prefix) {
  const int64_t width = model.hidden_size();
  const int64_t hidden = model.intermediate_size();
  Add(Norm(prefix + "post_attention_layernorm.weight", width));
  Add(Matrix(prefix + "block_sparse_moe.gate.weight", model.num_local_experts(),
             width, ArenaKind::kReplicated));
  auto add = [&](int expert, const char* name, int64_t rows, int64_t columns) {
    Parameter matrix = Matrix(absl::StrCat(prefix, "block_sparse_moe.experts.",
                                           expert, ".", name, ".weight"),
                              rows, columns, ArenaKind::kExpert);
    matrix.expert = expert;
    Add(std::move(matrix));
  };
  for (int expert = 0; expert < model.num_local_experts(); ++expert) {
    add(expert, "w1", hidden, width);
    add(expert, "w3", hidden, width);
  }
  for (int expert = 0; expert < model.num_local_experts(); ++expert)
    add(expert, "w2", width, hidden);
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
