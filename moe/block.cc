#include "moe/block.h"

#include <utility>

#include "comm/activity.h"
#include "comm/status_macros.h"

namespace moe {

absl::StatusOr<Tensor> Block::Normalize(LayerContext& context,
                                        Tensor inverse_rms_T,
                                        const Tensor& x_TD,
                                        const Tensor& weight_D) const {
  ASSIGN_OR_RETURN(Tensor y_TD,
                   context.scratch.Allocate({x_TD.dim(0), x_TD.dim(1)},
                                            context.compute_dtype));
  RmsNormForward(context.kernels, y_TD, inverse_rms_T, x_TD, weight_D,
                 epsilon_);
  return y_TD;
}

absl::Status Block::Forward(LayerContext& context, Tensor out_TD,
                            BlockSaved& saved, Routing& routing,
                            const Tensor& x_TD, const LayerWeights& weights,
                            const BatchShape& batch) const {
  ArenaScope scope(context.scratch);
  Tensor x_normed_TD;
  RETURN_IF_ERROR(
      UpToPlan(context, saved, routing, x_normed_TD, x_TD, weights, batch));
  routing.num_dropped = routing.expert_ids_TK.size() - saved.plan.num_sent_rows;
  Convert(context.kernels, out_TD, saved.middle_TD);
  if (recompute_ != Recompute::kExperts) {
    RETURN_IF_ERROR(ForwardExperts(context, out_TD, saved.plan, saved.experts,
                                   x_normed_TD, routing, weights));
  } else {
    ASSIGN_OR_RETURN(saved.num_chunks,
                     dispatcher_.NumChunks(saved.plan, max_expert_rows_));
    RETURN_IF_ERROR(ForEachChunk(
        context, saved, routing, [&](const DispatchPlan& plan, int64_t) {
          ExpertsSaved experts;  // made again in backward
          return ForwardExperts(context, out_TD, plan, experts, x_normed_TD,
                                routing, weights);
        }));
  }
  Show(context, TensorKind::kLayerOutput, out_TD);
  return absl::OkStatus();
}

absl::Status Block::ForwardExperts(LayerContext& context, Tensor out_TD,
                                   const DispatchPlan& plan,
                                   ExpertsSaved& saved, const Tensor& x_TD,
                                   const Routing& routing,
                                   const LayerWeights& weights) const {
  ArenaScope scope(context.scratch);
  StageScope stage("dispatch");
  RETURN_IF_ERROR(dispatcher_.Dispatch(context, saved.rows_RD, saved.weight_R,
                                       plan, x_TD, routing.weights_TK));
  stage.Enter("experts");
  Tensor expert_out_RD;
  RETURN_IF_ERROR(ExpertsForward(context, expert_out_RD, saved, weights,
                                 plan.expert_offsets));
  stage.Enter("combine");
  return dispatcher_.Combine(context, out_TD, plan, expert_out_RD);
}

absl::Status Block::ForEachChunk(
    LayerContext& context, const BlockSaved& saved, const Routing& routing,
    absl::FunctionRef<absl::Status(const DispatchPlan&, int64_t chunk)> pass)
    const {
  for (int64_t chunk = 0; chunk < saved.num_chunks; ++chunk) {
    ArenaScope kept(context.saved);
    ArenaScope scope(context.scratch);
    if (saved.num_chunks == 1) return pass(saved.plan, chunk);
    DispatchPlan plan;
    RETURN_IF_ERROR(PlanOfChunk(context, plan, saved, routing, chunk));
    RETURN_IF_ERROR(pass(plan, chunk));
  }
  return absl::OkStatus();
}

absl::Status Block::PlanOfChunk(LayerContext& context, DispatchPlan& plan,
                                const BlockSaved& saved, const Routing& routing,
                                int64_t chunk) const {
  const StageScope stage("dispatch");
  ASSIGN_OR_RETURN(const Tensor ids_TK,
                   dispatcher_.ChunkIds(context, routing.dispatched_ids_TK,
                                        saved.plan, chunk, saved.num_chunks));
  return dispatcher_.MakePlan(context, plan, ids_TK);
}

absl::Status Block::UpToPlan(LayerContext& context, BlockSaved& saved,
                             Routing& routing, Tensor& x_normed_TD,
                             const Tensor& x_TD, const LayerWeights& weights,
                             const BatchShape& batch) const {
  StageScope stage("attention");
  const int64_t T = x_TD.dim(0);
  saved.x_TD = x_TD;
  ASSIGN_OR_RETURN(saved.inverse_rms_T,
                   context.saved.Allocate({T}, DType::kFloat32));
  ASSIGN_OR_RETURN(saved.middle_TD,
                   context.saved.Allocate({T, x_TD.dim(1)}, DType::kFloat32));
  ASSIGN_OR_RETURN(saved.middle_inverse_rms_T,
                   context.saved.Allocate({T}, DType::kFloat32));
  Convert(context.kernels, saved.middle_TD, x_TD);  // attention adds to it
  {
    ArenaScope scope(context.scratch);
    ASSIGN_OR_RETURN(
        const Tensor normed_TD,
        Normalize(context, saved.inverse_rms_T, x_TD, weights.input_norm_D));
    Show(context, TensorKind::kAttentionInput, normed_TD);
    RETURN_IF_ERROR(attention_.Forward(
        context, saved.middle_TD, saved.attention, normed_TD, weights, batch));
  }

  stage.Enter("router");
  ASSIGN_OR_RETURN(x_normed_TD,
                   Normalize(context, saved.middle_inverse_rms_T,
                             saved.middle_TD, weights.post_attention_norm_D));
  Show(context, TensorKind::kExpertsInput, x_normed_TD);
  RETURN_IF_ERROR(
      router_.Forward(context, routing, x_normed_TD, weights.gate_ED, batch));
  stage.Enter("dispatch");
  return dispatcher_.MakePlan(context, saved.plan, routing.dispatched_ids_TK);
}

absl::Status Block::ForwardAgain(LayerContext& context, BlockSaved& saved,
                                 const LayerWeights& weights,
                                 const BatchShape& batch) const {
  ArenaScope scope(context.scratch);
  Routing routing;  // the same once more
  Tensor x_normed_TD;
  RETURN_IF_ERROR(UpToPlan(context, saved, routing, x_normed_TD, saved.x_TD,
                           weights, batch));
  return ExpertsAgain(context, saved.experts, saved.plan, x_normed_TD, routing,
                      weights);
}

absl::Status Block::ExpertsAgain(LayerContext& context, ExpertsSaved& saved,
                                 const DispatchPlan& plan, const Tensor& x_TD,
                                 const Routing& routing,
                                 const LayerWeights& weights) const {
  StageScope stage("dispatch");
  RETURN_IF_ERROR(dispatcher_.Dispatch(context, saved.rows_RD, saved.weight_R,
                                       plan, x_TD, routing.weights_TK));
  stage.Enter("experts");
  return ExpertsGateUp(context, saved, weights, plan.expert_offsets);
}

absl::Status Block::BackwardExperts(
    LayerContext& context, Tensor d_x_TD, LayerWeights& gradients,
    const BlockSaved& saved, const Routing& routing, const Tensor& balance_BE,
    float z_scale, const LayerWeights& weights, const BatchShape& batch) const {
  ArenaScope scope(context.scratch);
  const int64_t T = d_x_TD.dim(0);
  ASSIGN_OR_RETURN(Tensor d_out_TD,
                   InDType(context, d_x_TD, context.compute_dtype));
  ASSIGN_OR_RETURN(
      Tensor d_normed_TD,
      context.scratch.Allocate({T, d_x_TD.dim(1)}, DType::kFloat32));
  ASSIGN_OR_RETURN(Tensor d_weights_TK,
                   context.scratch.Allocate({T, routing.weights_TK.dim(1)},
                                            DType::kFloat32));
  ASSIGN_OR_RETURN(const Tensor x_normed_TD,
                   Normalize(context, saved.middle_inverse_rms_T,
                             saved.middle_TD, weights.post_attention_norm_D));
  if (recompute_ != Recompute::kExperts) {
    RETURN_IF_ERROR(BackwardThroughExperts(
        context, d_normed_TD, d_weights_TK, gradients, saved.plan,
        saved.experts, d_out_TD, weights, /*accumulate=*/false));
  } else {
    const auto backward = [&](const DispatchPlan& plan,
                              int64_t chunk) -> absl::Status {
      ExpertsSaved experts;
      RETURN_IF_ERROR(
          ExpertsAgain(context, experts, plan, x_normed_TD, routing, weights));
      return BackwardThroughExperts(context, d_normed_TD, d_weights_TK,
                                    gradients, plan, experts, d_out_TD, weights,
                                    /*accumulate=*/chunk > 0);
    };
    RETURN_IF_ERROR(ForEachChunk(context, saved, routing, backward));
  }
  const StageScope stage("router backward");
  RETURN_IF_ERROR(router_.Backward(
      context, d_normed_TD, gradients.gate_ED, d_weights_TK, balance_BE,
      z_scale, x_normed_TD, routing, weights.gate_ED, batch));
  ASSIGN_OR_RETURN(Tensor d_y_TD,
                   InDType(context, d_normed_TD, context.compute_dtype));
  RmsNormBackward(context.kernels, d_x_TD, gradients.post_attention_norm_D,
                  d_y_TD, saved.middle_TD, weights.post_attention_norm_D,
                  saved.middle_inverse_rms_T);
  return absl::OkStatus();
}

absl::Status Block::BackwardThroughExperts(
    LayerContext& context, Tensor d_x_TD, Tensor d_weights_TK,
    LayerWeights& gradients, const DispatchPlan& plan,
    const ExpertsSaved& experts, const Tensor& d_out_TD,
    const LayerWeights& weights, bool accumulate) const {
  ArenaScope scope(context.scratch);
  StageScope stage("combine backward");
  Tensor d_expert_out_RD;
  RETURN_IF_ERROR(
      dispatcher_.CombineBackward(context, d_expert_out_RD, plan, d_out_TD));
  stage.Enter("experts backward");
  Tensor d_rows_RD;
  Tensor d_weight_R;
  Tensor hidden_RF;
  RETURN_IF_ERROR(ExpertsInputGradients(context, d_rows_RD, d_weight_R,
                                        hidden_RF, d_expert_out_RD, experts,
                                        weights, plan.expert_offsets));
  stage.Enter("dispatch backward");
  ASSIGN_OR_RETURN(
      ReturningGradients returning,
      dispatcher_.StartDispatchBackward(context, plan, d_rows_RD, d_weight_R));
  stage.Enter("experts backward");
  {
    const ProgressScope progress(context.kernels,
                                 [&returning] { returning.Progress(); });
    ExpertsWeightGradients(context, gradients, d_expert_out_RD, hidden_RF,
                           experts, plan.expert_offsets);
  }
  stage.Enter("dispatch backward");
  return dispatcher_.FinishDispatchBackward(context, d_x_TD, d_weights_TK, plan,
                                            std::move(returning), accumulate);
}

absl::Status Block::BackwardAttention(LayerContext& context, Tensor d_x_TD,
                                      LayerWeights& gradients,
                                      const BlockSaved& saved,
                                      const LayerWeights& weights,
                                      const BatchShape& batch) const {
  ArenaScope scope(context.scratch);
  const StageScope stage("attention backward");
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
  RmsNormBackward(context.kernels, d_x_TD, gradients.input_norm_D, d_normed_TD,
                  saved.x_TD, weights.input_norm_D, saved.inverse_rms_T);
  return absl::OkStatus();
}

}  // namespace moe
