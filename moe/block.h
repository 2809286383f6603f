#ifndef MOE_BLOCK_H_
#define MOE_BLOCK_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "moe/attention.h"
#include "moe/experts.h"
#include "moe/layer_context.h"
#include "moe/router.h"
#include "moe/token_dispatcher.h"
#include "moe/weights.h"

namespace moe {

// One transformer block: x += attention(norm(x)); x += experts(norm(x)).
// T tokens of this rank, D model width.

struct BlockSaved {
  Tensor x_TD;  // the residual stream coming in, float32
  Tensor inverse_rms_T;
  Tensor normed_TD;  // compute
  AttentionSaved attention;
  Tensor middle_TD;  // the residual stream after attention, float32
  Tensor middle_inverse_rms_T;
  Tensor middle_normed_TD;  // compute
  DispatchPlan plan;
  ExpertsSaved experts;
};

class Block {
 public:
  Block(const ModelConfig& model, const Attention& attention,
        const Router& router, const TokenDispatcher& dispatcher)
      : epsilon_(static_cast<float>(model.rms_norm_eps())),
        attention_(attention),
        router_(router),
        dispatcher_(dispatcher) {}

  // The residual stream going out (float32, in context.saved).
  absl::StatusOr<Tensor> Forward(LayerContext& context, BlockSaved& saved,
                                 Routing& routing, const Tensor& x_TD,
                                 const LayerWeights& weights,
                                 const BatchShape& batch) const;

  // d_x is the residual stream's gradient, from that of the output to that of
  // the input, in place. The expert part comes first, then attention; each is
  // what the forward did, read upwards.
  absl::Status BackwardExperts(LayerContext& context, Tensor d_x_TD,
                               LayerWeights& gradients, const BlockSaved& saved,
                               const Routing& routing, const Tensor& balance_BE,
                               float z_scale, const LayerWeights& weights,
                               const BatchShape& batch) const;
  absl::Status BackwardAttention(LayerContext& context, Tensor d_x_TD,
                                 LayerWeights& gradients,
                                 const BlockSaved& saved,
                                 const LayerWeights& weights,
                                 const BatchShape& batch) const;

 private:
  float epsilon_;
  const Attention& attention_;
  const Router& router_;
  const TokenDispatcher& dispatcher_;
};

// x in the compute dtype: itself, or a copy in context.scratch.
absl::StatusOr<Tensor> InComputeDType(LayerContext& context,
                                      const Tensor& x_TD);

}  // namespace moe

#endif  // MOE_BLOCK_H_
