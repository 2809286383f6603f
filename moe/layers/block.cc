#include "moe/layers/block.h"

#include "comm/activity.h"
#include "comm/base/status_macros.h"

namespace moe {

absl::Status Block::Forward(LayerContext& context, Tensor out_TD,
                            BlockSaved& saved, Routing& routing,
                            const Tensor& x_TD, const LayerWeights& weights,
                            const BatchShape& batch) const {
  ArenaScope scope(context.scratch);
  RETURN_IF_ERROR(ForwardAttention(context, saved, x_TD, weights, batch));
  const PhaseScope phase(Phase::kRouter);
  ASSIGN_OR_RETURN(const Tensor normed_TD,
                   FeedForwardInput(context, saved, weights));
  Show(context, TensorKind::kExpertsInput, normed_TD);
  context.kernels.Convert(out_TD, saved.post_attention_TD);  // is added to
  RETURN_IF_ERROR(feed_forward_.Forward(context, out_TD, saved.moe, routing,
                                        normed_TD, weights, batch));
  Show(context, TensorKind::kLayerOutput, out_TD);
  return absl::OkStatus();
}

absl::Status Block::RecomputeForward(LayerContext& context, BlockSaved& saved,
                                     const LayerWeights& weights,
                                     const BatchShape& batch) const {
  ArenaScope scope(context.scratch);
  RETURN_IF_ERROR(ForwardAttention(context, saved, saved.x_TD, weights, batch));
  const PhaseScope phase(Phase::kRouter);
  ASSIGN_OR_RETURN(const Tensor normed_TD,
                   FeedForwardInput(context, saved, weights));
  return feed_forward_.RecomputeForward(context, saved.moe, normed_TD, weights,
                                        batch);
}

absl::Status Block::BackwardFeedForward(LayerContext& context, Tensor d_x_TD,
                                        LayerWeights& gradients,
                                        const RouterLossGradients& losses,
                                        const BlockSaved& saved,
                                        const Routing& routing,
                                        const LayerWeights& weights,
                                        const BatchShape& batch) const {
  ArenaScope scope(context.scratch);
  ASSIGN_OR_RETURN(Tensor d_out_TD,
                   InDType(context, d_x_TD, context.compute_dtype));
  ASSIGN_OR_RETURN(Tensor d_normed_TD,
                   context.scratch.Allocate({d_x_TD.dim(0), d_x_TD.dim(1)},
                                            DType::kFloat32));
  ASSIGN_OR_RETURN(const Tensor normed_TD,
                   FeedForwardInput(context, saved, weights));
  RETURN_IF_ERROR(feed_forward_.Backward(context, d_normed_TD, gradients,
                                         d_out_TD, losses, saved.moe, routing,
                                         normed_TD, weights, batch));
  const PhaseScope phase(Phase::kRouterBackward);
  ASSIGN_OR_RETURN(Tensor d_y_TD,
                   InDType(context, d_normed_TD, context.compute_dtype));
  context.kernels.RmsNormBackward(
      d_x_TD, gradients.post_attention_norm_D, d_y_TD, saved.post_attention_TD,
      weights.post_attention_norm_D, saved.post_attention_inverse_rms_T);
  return absl::OkStatus();
}

absl::Status Block::BackwardAttention(LayerContext& context, Tensor d_x_TD,
                                      LayerWeights& gradients,
                                      const BlockSaved& saved,
                                      const LayerWeights& weights,
                                      const BatchShape& batch) const {
  ArenaScope scope(context.scratch);
  const PhaseScope phase(Phase::kAttentionBackward);
  ASSIGN_OR_RETURN(Tensor d_out_TD,
                   InDType(context, d_x_TD, context.compute_dtype));
  ASSIGN_OR_RETURN(Tensor d_normed_TD,
                   context.scratch.Allocate({d_x_TD.dim(0), d_x_TD.dim(1)},
                                            context.compute_dtype));
  ASSIGN_OR_RETURN(const Tensor normed_TD,
                   Normalize(context, saved.inverse_rms_T, saved.x_TD,
                             weights.input_norm_D));
  RETURN_IF_ERROR(attention_.Backward(context, d_normed_TD, gradients, d_out_TD,
                                      normed_TD, saved.attention, weights,
                                      batch));
  context.kernels.RmsNormBackward(d_x_TD, gradients.input_norm_D, d_normed_TD,
                                  saved.x_TD, weights.input_norm_D,
                                  saved.inverse_rms_T);
  return absl::OkStatus();
}

absl::StatusOr<Tensor> Block::Normalize(LayerContext& context,
                                        Tensor inverse_rms_T,
                                        const Tensor& x_TD,
                                        const Tensor& weight_D) const {
  ASSIGN_OR_RETURN(Tensor y_TD,
                   context.scratch.Allocate({x_TD.dim(0), x_TD.dim(1)},
                                            context.compute_dtype));
  context.kernels.RmsNormForward(y_TD, inverse_rms_T, x_TD, weight_D, epsilon_);
  return y_TD;
}

absl::Status Block::ForwardAttention(LayerContext& context, BlockSaved& saved,
                                     const Tensor& x_TD,
                                     const LayerWeights& weights,
                                     const BatchShape& batch) const {
  const PhaseScope phase(Phase::kAttention);
  const int64_t T = x_TD.dim(0);
  saved.x_TD = x_TD;
  ASSIGN_OR_RETURN(saved.inverse_rms_T,
                   context.saved.Allocate({T}, DType::kFloat32));
  ASSIGN_OR_RETURN(saved.post_attention_TD,
                   context.saved.Allocate({T, x_TD.dim(1)}, DType::kFloat32));
  ASSIGN_OR_RETURN(saved.post_attention_inverse_rms_T,
                   context.saved.Allocate({T}, DType::kFloat32));
  context.kernels.Convert(saved.post_attention_TD, x_TD);  // is added to
  ArenaScope scope(context.scratch);
  ASSIGN_OR_RETURN(
      const Tensor normed_TD,
      Normalize(context, saved.inverse_rms_T, x_TD, weights.input_norm_D));
  Show(context, TensorKind::kAttentionInput, normed_TD);
  return attention_.Forward(context, saved.post_attention_TD, saved.attention,
                            normed_TD, weights, batch);
}

absl::StatusOr<Tensor> Block::FeedForwardInput(
    LayerContext& context, const BlockSaved& saved,
    const LayerWeights& weights) const {
  return Normalize(context, saved.post_attention_inverse_rms_T,
                   saved.post_attention_TD, weights.post_attention_norm_D);
}

}  // namespace moe
