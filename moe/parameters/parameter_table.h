#ifndef MOE_PARAMETERS_PARAMETER_TABLE_H_
#define MOE_PARAMETERS_PARAMETER_TABLE_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "comm/base/dtype.h"
#include "comm/mesh.h"
#include "moe/model_config.pb.h"

namespace moe {

// Parameters that the same ranks share, whose compute copies have the same
// dtype and which are all trained or all frozen lie side by side in one flat
// arena. Trained kinds come first, so that their indices count them alone.
enum class ArenaKind {
  kReplicated,  // norms and gates
  kTensor,      // attention, embedding, head
  kExpert,      // experts
  kFrozenReplicated,
  kFrozenTensor,
  kFrozenExpert,
};
inline constexpr size_t Index(ArenaKind kind) {
  return static_cast<size_t>(kind);
}

enum class DTypeClass {
  kFloat32,  // always float32
  kCompute,  // the compute dtype
};

// What an arena kind is. Frozen parameters have weights alone: no gradients,
// no shards, no optimizer state.
struct ArenaRow {
  ArenaKind kind;
  const char* name;
  Axis reduction_axis;  // the ranks that hold the same parameters
  DTypeClass dtype;     // of the weights
  bool trained;
};
inline constexpr ArenaRow kArenaTable[] = {
    {ArenaKind::kReplicated, "replicated", Axis::kWorld, DTypeClass::kFloat32,
     true},
    {ArenaKind::kTensor, "tensor", Axis::kData, DTypeClass::kCompute, true},
    {ArenaKind::kExpert, "expert", Axis::kExpertReplica, DTypeClass::kCompute,
     true},
    {ArenaKind::kFrozenReplicated, "frozen replicated", Axis::kWorld,
     DTypeClass::kFloat32, false},
    {ArenaKind::kFrozenTensor, "frozen tensor", Axis::kData,
     DTypeClass::kCompute, false},
    {ArenaKind::kFrozenExpert, "frozen expert", Axis::kExpertReplica,
     DTypeClass::kCompute, false},
};
inline constexpr size_t kNumArenaKinds = std::size(kArenaTable);
inline constexpr size_t kNumTrainedArenaKinds = static_cast<size_t>(
    std::count_if(std::begin(kArenaTable), std::end(kArenaTable),
                  [](const ArenaRow& row) { return row.trained; }));

// The kinds of the table's first N rows.
template <size_t N>
constexpr std::array<ArenaKind, N> FirstArenaKinds() {
  std::array<ArenaKind, N> kinds = {};
  for (size_t i = 0; i < N; ++i) kinds[i] = kArenaTable[i].kind;
  return kinds;
}
inline constexpr auto kAllArenaKinds = FirstArenaKinds<kNumArenaKinds>();
inline constexpr auto kTrainedArenaKinds =
    FirstArenaKinds<kNumTrainedArenaKinds>();

inline constexpr const ArenaRow& RowOf(ArenaKind kind) {
  return kArenaTable[Index(kind)];
}
// The ranks that share an arena: a trained one's gradients are summed over
// them.
inline constexpr Axis ReductionAxis(ArenaKind kind) {
  return RowOf(kind).reduction_axis;
}
inline constexpr bool IsTrained(ArenaKind kind) { return RowOf(kind).trained; }

// A rectangle of a matrix. A vector counts as a matrix of one column.
struct Slice {
  int64_t first_row = 0;
  int64_t num_rows = 0;
  int64_t first_column = 0;
  int64_t num_columns = 0;

  int64_t size() const { return num_rows * num_columns; }
};

// How a matrix is split among the ranks of a tensor group.
enum class Split { kNone, kRows, kColumns };

// What a parameter is to its layer. The layers bind their weights by it.
enum class Role {
  kEmbedding,
  kInputNorm,
  kQuery,
  kKey,
  kValue,
  kAttentionOutput,
  kPostAttentionNorm,
  kRouter,
  kExpertGate,  // w1
  kExpertUp,    // w3
  kExpertDown,  // w2
  kFinalNorm,
  kHead,
};

// One tensor of the model under its Hugging Face name.
struct Parameter {
  std::string name;
  Role role = Role::kEmbedding;
  int layer = -1;              // -1: of none
  std::vector<int64_t> shape;  // the whole tensor, as checkpoints hold it
  int64_t size = 0;            // its elements
  ArenaKind arena = ArenaKind::kTensor;
  bool trained = true;   // else frozen: its bytes never change
  bool decay = true;     // weight decay applies: all matrices
  bool is_norm = false;  // starts at 1; all else normal
  Split split = Split::kNone;
  // The expert it belongs to, or -1.
  int expert = -1;
  // On this rank: `slice` of the tensor, row-major at elements [offset, offset
  // + slice.size()) of the arena. An expert of another rank is not local.
  bool local = true;
  Slice slice = {};
  int64_t offset = 0;

  int64_t num_columns() const { return shape.size() == 1 ? 1 : shape[1]; }
};

// What tensor rank `rank` of `num_ranks` has of a parameter. Parts differ by
// one row or column at most: heads divide evenly, a vocabulary need not.
Slice SliceOfTensorRank(const Parameter& parameter, int rank, int num_ranks);

// visit(begin_in_tensor, begin_in_slice, count) for the runs of elements
// [begin, begin + count) of a slice that are adjacent in the whole tensor too.
template <typename Visit>
void ForEachRun(const Slice& slice, int64_t tensor_columns, int64_t begin,
                int64_t count, const Visit& visit) {
  const int64_t end = begin + count;
  // Whole rows are one run.
  const int64_t run =
      slice.num_columns == tensor_columns ? slice.size() : slice.num_columns;
  while (begin < end) {
    const int64_t row = slice.first_row + begin / slice.num_columns;
    const int64_t column = slice.first_column + begin % slice.num_columns;
    const int64_t length = std::min(end, (begin / run + 1) * run) - begin;
    visit(row * tensor_columns + column, begin, length);
    begin += length;
  }
}

// Indices [begin, end) into ParameterTable::parameters().
struct ParameterRange {
  int begin = 0;
  int end = 0;
};

// Whether a parameter is trained. It must say the same on all ranks: by name,
// role, layer, expert or shape, not by what a rank has of it.
using TrainedPredicate = std::function<bool(const Parameter&)>;

// The one source of what parameters there are, where they lie and who reduces
// them; computed from the configuration and a mesh, allocating no memory for
// them. Initialisation, reducer, optimizer, checkpoints and dry runs read it.
class ParameterTable {
 public:
  // The model must have passed ValidateModel and the mesh been made for it.
  // trained: null, all are.
  ParameterTable(const ModelConfig& model, DType compute_dtype,
                 const Mesh& mesh, int rank,
                 const TrainedPredicate& trained = nullptr);

  // InvalidArgument: of tensors that layers use as one (a layer's query, key
  // and value; its experts' gates and ups; its experts' downs) some are trained
  // and some frozen. The same on all ranks; nothing may be bound to such a
  // table.
  absl::Status CheckTrained() const;

  // All of the model in forward order, other ranks' experts included:
  // embedding, for each layer its attention part and its expert part, final
  // norm, head. Inside an arena, offsets rise in this order.
  absl::Span<const Parameter> parameters() const { return parameters_; }

  int num_layers() const { return static_cast<int>(layers_.size()); }
  ParameterRange embedding() const { return {0, 1}; }
  ParameterRange attention(int layer) const { return layers_[layer].attention; }
  ParameterRange moe(int layer) const { return layers_[layer].moe; }
  // Final norm and, unless tied, head.
  ParameterRange head() const { return head_; }

  // Index of the first parameter in forward order that is trained; the number
  // of parameters if none is. Backward needs to go no further down.
  int FirstTrained() const;

  // Index by name, or -1.
  int Find(absl::string_view name) const;
  // By what it is, or -1. Of an expert: its number in the model.
  int Find(Role role, int layer = -1, int expert = -1) const;

  // Elements of this rank's arena, padded to a multiple of kAlignment times
  // the ranks that share it. 0: nothing is in it.
  int64_t ArenaSize(ArenaKind kind) const { return arena_sizes_[Index(kind)]; }
  DType ArenaDType(ArenaKind kind) const {
    return RowOf(kind).dtype == DTypeClass::kFloat32 ? DType::kFloat32
                                                     : compute_dtype_;
  }
  DType compute_dtype() const { return compute_dtype_; }

  // Ranks among which attention and vocabulary are split, and this one's place.
  int tensor_ranks() const { return tensor_ranks_; }
  int tensor_rank() const { return tensor_rank_; }

  // Experts on this rank: [first_expert, first_expert + local_experts).
  int first_expert() const { return first_expert_; }
  int local_experts() const { return local_experts_; }

  static constexpr int64_t kAlignment = 16;  // elements; 64 bytes of float32

 private:
  struct LayerRanges {
    ParameterRange attention;
    ParameterRange moe;
  };

  void Add(Parameter parameter);
  void AddAttention(const ModelConfig& model, int layer);
  void AddMoe(const ModelConfig& model, int layer);
  void Freeze(const TrainedPredicate& trained);
  void PlaceInArenas(const Mesh& mesh);

  DType compute_dtype_;
  int tensor_ranks_;
  int tensor_rank_;
  int first_expert_;
  int local_experts_;
  std::vector<Parameter> parameters_;
  std::vector<LayerRanges> layers_;
  ParameterRange head_;
  std::array<int64_t, kNumArenaKinds> arena_sizes_ = {};
};

// visit(parameter, begin_in_slice, begin_in_range, count) for the parameters
// that elements [begin, begin + count) of this rank's arena belong to, in the
// order of the arena; padding belongs to none.
template <typename Visit>
void ForEachParameter(const ParameterTable& table, ArenaKind kind,
                      int64_t begin, int64_t count, const Visit& visit) {
  for (const Parameter& parameter : table.parameters()) {
    if (!parameter.local || parameter.arena != kind) continue;
    const int64_t from = std::max(begin, parameter.offset);
    const int64_t to =
        std::min(begin + count, parameter.offset + parameter.slice.size());
    if (from < to)
      visit(parameter, from - parameter.offset, from - begin, to - from);
  }
}

}  // namespace moe

#endif  // MOE_PARAMETERS_PARAMETER_TABLE_H_
