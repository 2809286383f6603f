#ifndef MOE_PARAMETER_TABLE_H_
#define MOE_PARAMETER_TABLE_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "comm/dtype.h"
#include "comm/mesh.h"
#include "moe/model_config.pb.h"

namespace moe {

// Parameters whose gradients are reduced over the same group and whose compute
// copies have the same dtype lie side by side in one flat arena.
enum class ArenaKind {
  kReplicatedFloat32,  // norms and gates: world, always float32
  kReplicated,         // attention, embedding, head: world, compute dtype
  kExpert,             // experts: expert replicas, compute dtype
};
inline constexpr ArenaKind kAllArenaKinds[] = {
    ArenaKind::kReplicatedFloat32, ArenaKind::kReplicated, ArenaKind::kExpert};

// The ranks over which an arena's gradients are summed.
Axis ReductionAxis(ArenaKind kind);

// One tensor of the model under its Hugging Face name.
struct Parameter {
  std::string name;
  std::vector<int64_t> shape;  // the whole tensor, as checkpoints hold it
  int64_t size = 0;            // its elements
  ArenaKind arena = ArenaKind::kReplicated;
  bool decay = true;     // weight decay applies: all matrices
  bool is_norm = false;  // starts at 1; all else normal
  // The expert it belongs to, or -1.
  int expert = -1;
  // On this rank: elements [offset, offset + size) of the arena. An expert of
  // another rank is not local.
  bool local = true;
  int64_t offset = 0;
};

// Indices [begin, end) into ParameterTable::parameters().
struct ParameterRange {
  int begin = 0;
  int end = 0;
};

// The one source of what parameters there are, where they lie and who reduces
// them; computed from the configuration and a mesh, allocating no memory for
// them. Initialisation, reducer, optimizer, checkpoints and dry runs read it.
class ParameterTable {
 public:
  // The model must have passed ValidateModel and the mesh been made for it.
  ParameterTable(const ModelConfig& model, DType compute_dtype,
                 const Mesh& mesh, int rank);

  // All of the model in forward order, other ranks' experts included:
  // embedding, for each layer its attention part and its expert part, final
  // norm, head. Inside an arena, offsets rise in this order.
  absl::Span<const Parameter> parameters() const { return parameters_; }

  ParameterRange embedding() const { return {0, 1}; }
  ParameterRange attention(int layer) const { return layers_[layer].attention; }
  ParameterRange moe(int layer) const { return layers_[layer].moe; }
  // Final norm and, unless tied, head.
  ParameterRange head() const { return head_; }

  // Index by name, or -1.
  int Find(absl::string_view name) const;

  // Elements of this rank's arena, padded to a multiple of kAlignment times
  // the ranks that reduce it.
  int64_t ArenaSize(ArenaKind kind) const {
    return arena_sizes_[static_cast<size_t>(kind)];
  }
  DType ArenaDType(ArenaKind kind) const {
    return kind == ArenaKind::kReplicatedFloat32 ? DType::kFloat32
                                                 : compute_dtype_;
  }
  DType compute_dtype() const { return compute_dtype_; }

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
  void AddAttention(const ModelConfig& model, const std::string& prefix);
  void AddMoe(const ModelConfig& model, const std::string& prefix);
  void PlaceInArenas(const Mesh& mesh);

  DType compute_dtype_;
  int first_expert_;
  int local_experts_;
  std::vector<Parameter> parameters_;
  std::vector<LayerRanges> layers_;
  ParameterRange head_;
  std::array<int64_t, 3> arena_sizes_ = {};
};

}  // namespace moe

#endif  // MOE_PARAMETER_TABLE_H_
