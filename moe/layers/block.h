#ifndef MOE_LAYERS_BLOCK_H_
#define MOE_LAYERS_BLOCK_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "moe/layers/attention.h"
#include "moe/layers/layer_context.h"
#include "moe/layers/moe_layer.h"
#include "moe/parameters/weights.h"

namespace moe {

// One transformer block: x += attention(norm(x)); x += feed_forward(norm(x)).
// T tokens of this rank, D model width.

// What the norms yield is not kept: to make it again takes a thousandth of the
// time and a tenth of the memory.
struct BlockSaved {
  Tensor x_TD;  // the residual stream coming in, float32
  Tensor inverse_rms_T;
  AttentionSaved attention;
  Tensor post_attention_TD;  // the residual stream after attention, float32
  Tensor post_attention_inverse_rms_T;
  MoeSaved moe;
};

class Block {
 public:
  Block(const ModelConfig& model, const Attention& attention,
        const MoeLayer& feed_forward)
      : epsilon_(static_cast<float>(model.rms_norm_eps())),
        attention_(attention),
        feed_forward_(feed_forward) {}

  // out (float32): the residual stream going out.
  absl::Status Forward(LayerContext& context, Tensor out_TD, BlockSaved& saved,
                       Routing& routing, const Tensor& x_TD,
                       const LayerWeights& weights,
                       const BatchShape& batch) const;
  // With Recompute::kBlock, before the backward: `saved` again, in
  // context.saved, from saved.x_TD. Collective like Forward.
  absl::Status RecomputeForward(LayerContext& context, BlockSaved& saved,
                                const LayerWeights& weights,
                                const BatchShape& batch) const;

  // d_x is the residual stream's gradient, from that of the output to that of
  // the input, in place. The feed-forward comes first, then attention; each is
  // what the forward did, read upwards.
  absl::Status BackwardFeedForward(LayerContext& context, Tensor d_x_TD,
                                   LayerWeights& gradients,
                                   const RouterLossGradients& losses,
                                   const BlockSaved& saved,
                                   const Routing& routing,
                                   const LayerWeights& weights,
                                   const BatchShape& batch) const;
  absl::Status BackwardAttention(LayerContext& context, Tensor d_x_TD,
                                 LayerWeights& gradients,
                                 const BlockSaved& saved,
                                 const LayerWeights& weights,
                                 const BatchShape& batch) const;

 private:
  // norm(x), compute, in context.scratch; sets inverse_rms_T for its backward,
  // in backward to the same bits.
  absl::StatusOr<Tensor> Normalize(LayerContext& context, Tensor inverse_rms_T,
                                   const Tensor& x_TD,
                                   const Tensor& weight_D) const;
  // saved.post_attention_TD = x + attention(norm(x)), in context.saved with all
  // that backward needs of it.
  absl::Status ForwardAttention(LayerContext& context, BlockSaved& saved,
                                const Tensor& x_TD, const LayerWeights& weights,
                                const BatchShape& batch) const;
  // The feed-forward's input, in context.scratch.
  absl::StatusOr<Tensor> FeedForwardInput(LayerContext& context,
                                          const BlockSaved& saved,
                                          const LayerWeights& weights) const;

  float epsilon_;
  const Attention& attention_;
  const MoeLayer& feed_forward_;
};

}  // namespace moe

#endif  // MOE_LAYERS_BLOCK_H_
