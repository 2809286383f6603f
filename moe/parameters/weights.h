#ifndef MOE_PARAMETERS_WEIGHTS_H_
#define MOE_PARAMETERS_WEIGHTS_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "comm/base/buffer.h"
#include "comm/device_context.h"
#include "moe/model_config.pb.h"
#include "moe/parameters/parameter_table.h"
#include "moe/tensor.h"

namespace moe {

// The memory of a rank's parameter arenas: weights in their compute dtypes, or
// gradients, which are float32 throughout and of trained parameters alone.
class ParameterStorage {
 public:
  static absl::StatusOr<ParameterStorage> AllocateWeights(
      const ParameterTable& table, DeviceContext& context = CpuContext());
  static absl::StatusOr<ParameterStorage> AllocateGradients(
      const ParameterTable& table, DeviceContext& context = CpuContext());

  // All elements of an arena, one dim, padding included. Gradients have no
  // frozen arenas: null, of no elements.
  Tensor arena(ArenaKind kind) const { return arenas_[Index(kind)]; }
  // A local parameter under its own shape (one or two dims). Null: the gradient
  // of a frozen one.
  Tensor Get(const Parameter& parameter) const;

 private:
  std::array<Buffer, kNumArenaKinds> buffers_;
  std::array<Tensor, kNumArenaKinds> arenas_;
};

// Views of one layer's local parameters as the layers use them: e experts, H
// query and G key/value heads of this rank. Gradients of frozen parameters are
// null, and the layers compute none.
struct LayerWeights {
  Tensor input_norm_D;
  Tensor qkv_CD;  // C = (H + 2 G) head_dim
  Tensor o_DA;    // A = H head_dim
  Tensor post_attention_norm_D;
  Tensor gate_ED;
  Tensor gate_up_eGD;  // G = 2 F: an expert's w1 rows, then its w3 rows
  Tensor down_eDF;
};

// V pieces of the vocabulary on this rank.
struct ModelWeights {
  int64_t first_id = 0;  // of the V
  Tensor embedding_VD;
  std::vector<LayerWeights> layers;
  Tensor norm_D;
  Tensor head_VD;  // the embedding itself when tied
};

// The table must have passed CheckTrained.
ModelWeights BindWeights(const ModelConfig& model, const ParameterTable& table,
                         const ParameterStorage& storage);

// Elements [begin, begin + out.size()) of a rank's arena: fill(parameter,
// in_tensor, part) sets each part of `out` that is a run of a global tensor
// from element in_tensor on. Padding is 0.
template <typename Fill>
void FillArena(const ParameterTable& table, ArenaKind kind, int64_t begin,
               absl::Span<float> out, const Fill& fill) {
  std::fill(out.begin(), out.end(), 0.0f);
  ForEachParameter(
      table, kind, begin, static_cast<int64_t>(out.size()),
      [&](const Parameter& parameter, int64_t in_slice, int64_t in_out,
          int64_t count) {
        ForEachRun(parameter.slice, parameter.num_columns(), in_slice, count,
                   [&](int64_t in_tensor, int64_t run_begin, int64_t run) {
                     const int64_t place = in_out + run_begin - in_slice;
                     fill(parameter, in_tensor,
                          out.subspan(static_cast<size_t>(place),
                                      static_cast<size_t>(run)));
                   });
      });
}

// Elements [begin, begin + out.size()) of a whole tensor's initial value: norms
// 1, all else normal with initializer_range, keyed by (seed, name).
void InitialValues(const ModelConfig& model, const Parameter& parameter,
                   uint64_t seed, int64_t begin, absl::Span<float> out);

// Of a rank's arena at the start.
void InitialArena(const ModelConfig& model, const ParameterTable& table,
                  ArenaKind kind, uint64_t seed, int64_t begin,
                  absl::Span<float> out);

}  // namespace moe

#endif  // MOE_PARAMETERS_WEIGHTS_H_
