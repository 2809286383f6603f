#ifndef MOE_LAYERS_EXPERTS_H_
#define MOE_LAYERS_EXPERTS_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "moe/layers/layer_context.h"
#include "moe/parameters/weights.h"
#include "moe/tensor.h"

namespace moe {

// This rank's SwiGLU experts over rows sorted by expert (a grouped product):
// out = w2 (weight silu(w1 x) w3 x). The routing weight is applied before the
// down projection, so that combining is a plain sum and no expert output need
// be kept.
//
// R rows, D width, F hidden width, e experts; offsets as in kernels.h.

// The hidden values, weight silu(w1 x) w3 x, are not kept: backward makes them
// of gate_up once more on its way.
struct ExpertsSaved {
  Tensor rows_RD;      // inputs, compute
  Tensor weight_R;     // float32
  Tensor gate_up_R2F;  // compute; backward overwrites it by its gradient
};

// gate_up: the part of the forward that backward needs. saved.rows_RD and
// weight_R are the inputs.
absl::Status ExpertsGateUp(LayerContext& context, ExpertsSaved& saved,
                           const LayerWeights& weights,
                           absl::Span<const int64_t> offsets);

// All of it: out (in context.scratch).
absl::Status ExpertsForward(LayerContext& context, Tensor& out_RD,
                            ExpertsSaved& saved, const LayerWeights& weights,
                            absl::Span<const int64_t> offsets);

// Backward, in two parts so that d_rows can be on their way while the second
// one computes. d_rows, d_weight and the hidden values for the second part, in
// context.scratch; saved.gate_up becomes its gradient.
absl::Status ExpertsInputGradients(LayerContext& context, Tensor& d_rows_RD,
                                   Tensor& d_weight_R, Tensor& hidden_RF,
                                   const Tensor& d_out_RD,
                                   const ExpertsSaved& saved,
                                   const LayerWeights& weights,
                                   absl::Span<const int64_t> offsets);
// After the first: adds to the experts' gradients.
void ExpertsWeightGradients(LayerContext& context, LayerWeights& gradients,
                            const Tensor& d_out_RD, const Tensor& hidden_RF,
                            const ExpertsSaved& saved,
                            absl::Span<const int64_t> offsets);

}  // namespace moe

#endif  // MOE_LAYERS_EXPERTS_H_
