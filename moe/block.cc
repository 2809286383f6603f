#include "moe/block.h"

#include "comm/activity.h"
#include "comm/status_macros.h"

namespace moe {
namespace {

// y = norm(x), with what its backward needs, both in context.saved.
absl::Status Normalize(LayerContext& context, Tensor& y_TD,
                       Tensor& inverse_rms_T, const Tensor& x_TD,
                       const Tensor& weight_D, float epsilon) {
  const int64_t T = x_TD.dim(0);
  ASSIGN_OR_RETURN(
      y_TD, context.saved.Allocate({T, x_TD.dim(1)}, context.compute_dtype));
  ASSIGN_OR_RETURN(inverse_rms_T, context.saved.Allocate({T}, DType::kFloat32));
  RmsNormForward(context.kernels, y_TD, inverse_rms_T, x_TD, weight_D, epsilon);
  return absl::OkStatus();
}

// A copy of the residual stream, which the next sublayer adds to.
absl::StatusOr<Tensor> Branch(LayerContext& context, const Tensor& x_TD) {
  ASSIGN_OR_RETURN(
      Tensor copy_TD,
      context.saved.Allocate({x_TD.dim(0), x_TD.dim(1)}, DType::kFloat32));
  Convert(context.kernels, copy_TD, x_TD);
  return copy_TD;
}

}  // namespace

absl::StatusOr<Tensor> InComputeDType(LayerContext& context,
                                      const Tensor& x_TD) {
  if (x_TD.dtype() == context.compute_dtype) return x_TD;
  ASSIGN_OR_RETURN(Tensor copy_TD,
                   context.scratch.Allocate({x_TD.dim(0), x_TD.dim(1)},
                                            context.compute_dtype));
  Convert(context.kernels, copy_TD, x_TD);
  return copy_TD;
}

absl::StatusOr<Tensor> Block::Forward(LayerContext& context, BlockSaved& saved,
                                      Routing& routing, const Tensor& x_TD,
                                      const LayerWeights& weights,
                                      const BatchShape& batch) const {
  ArenaScope scope(context.scratch);
  StageScope stage("attention");
  saved.x_TD = x_TD;
  RETURN_IF_ERROR(Normalize(context, saved.normed_TD, saved.inverse_rms_T, x_TD,
                            weights.input_norm_D, epsilon_));
  Show(context, TensorKind::kAttentionInput, saved.normed_TD);
  ASSIGN_OR_RETURN(saved.middle_TD, Branch(context, x_TD));
  RETURN_IF_ERROR(attention_.Forward(context, saved.middle_TD, saved.attention,
                                     saved.normed_TD, weights, batch));

  stage.Enter("router");
  RETURN_IF_ERROR(Normalize(context, saved.middle_normed_TD,
                            saved.middle_inverse_rms_T, saved.middle_TD,
                            weights.post_attention_norm_D, epsilon_));
  Show(context, TensorKind::kExpertsInput, saved.middle_normed_TD);
  RETURN_IF_ERROR(router_.Forward(context, routing, saved.middle_normed_TD,
                                  weights.gate_ED, batch));
  stage.Enter("dispatch");
  RETURN_IF_ERROR(
      dispatcher_.MakePlan(context, saved.plan, routing.dispatched_ids_TK));
  routing.num_dropped = routing.expert_ids_TK.size() - saved.plan.num_sent_rows;
  RETURN_IF_ERROR(dispatcher_.Dispatch(
      context, saved.experts.rows_RD, saved.experts.weight_R, saved.plan,
      saved.middle_normed_TD, routing.weights_TK));
  stage.Enter("experts");
  Tensor expert_out_RD;
  RETURN_IF_ERROR(ExpertsForward(context, expert_out_RD, saved.experts, weights,
                                 saved.plan.expert_offsets));
  stage.Enter("combine");
  ASSIGN_OR_RETURN(Tensor out_TD, Branch(context, saved.middle_TD));
  RETURN_IF_ERROR(
      dispatcher_.Combine(context, out_TD, saved.plan, expert_out_RD));
  Show(context, TensorKind::kLayerOutput, out_TD);
  return out_TD;
}

absl::Status Block::BackwardExperts(
    LayerContext& context, Tensor d_x_TD, LayerWeights& gradients,
    const BlockSaved& saved, const Routing& routing, const Tensor& balance_BE,
    float z_scale, const LayerWeights& weights, const BatchShape& batch) const {
  ArenaScope scope(context.scratch);
  StageScope stage("combine backward");
  const int64_t T = d_x_TD.dim(0);
  ASSIGN_OR_RETURN(Tensor d_out_TD, InComputeDType(context, d_x_TD));
  Tensor d_expert_out_RD;
  RETURN_IF_ERROR(dispatcher_.CombineBackward(context, d_expert_out_RD,
                                              saved.plan, d_out_TD));
  stage.Enter("experts backward");
  Tensor d_rows_RD;
  Tensor d_weight_R;
  RETURN_IF_ERROR(ExpertsBackward(context, d_rows_RD, d_weight_R, gradients,
                                  d_expert_out_RD, saved.experts, weights,
                                  saved.plan.expert_offsets));
  ASSIGN_OR_RETURN(
      Tensor d_normed_TD,
      context.scratch.Allocate({T, d_x_TD.dim(1)}, DType::kFloat32));
  ASSIGN_OR_RETURN(Tensor d_weights_TK,
                   context.scratch.Allocate({T, routing.weights_TK.dim(1)},
                                            DType::kFloat32));
  stage.Enter("dispatch backward");
  RETURN_IF_ERROR(dispatcher_.DispatchBackward(
      context, d_normed_TD, d_weights_TK, saved.plan, d_rows_RD, d_weight_R));
  stage.Enter("router backward");
  RETURN_IF_ERROR(router_.Backward(
      context, d_normed_TD, gradients.gate_ED, d_weights_TK, balance_BE,
      z_scale, saved.middle_normed_TD, routing, weights.gate_ED, batch));
  ASSIGN_OR_RETURN(Tensor d_y_TD, InComputeDType(context, d_normed_TD));
  RmsNormBackward(context.kernels, d_x_TD, gradients.post_attention_norm_D,
                  d_y_TD, saved.middle_TD, weights.post_attention_norm_D,
                  saved.middle_inverse_rms_T);
  return absl::OkStatus();
}

absl::Status Block::BackwardAttention(LayerContext& context, Tensor d_x_TD,
                                      LayerWeights& gradients,
                                      const BlockSaved& saved,
                                      const LayerWeights& weights,
                                      const BatchShape& batch) const {
  ArenaScope scope(context.scratch);
  const StageScope stage("attention backward");
  ASSIGN_OR_RETURN(Tensor d_out_TD, InComputeDType(context, d_x_TD));
  ASSIGN_OR_RETURN(Tensor d_normed_TD,
                   context.scratch.Allocate({d_x_TD.dim(0), d_x_TD.dim(1)},
                                            context.compute_dtype));
  RETURN_IF_ERROR(attention_.Backward(context, d_normed_TD, gradients, d_out_TD,
                                      saved.normed_TD, saved.attention, weights,
                                      batch));
  RmsNormBackward(context.kernels, d_x_TD, gradients.input_norm_D, d_normed_TD,
                  saved.x_TD, weights.input_norm_D, saved.inverse_rms_T);
  return absl::OkStatus();
}

}  // namespace moe
