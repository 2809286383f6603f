#include "moe/layers/moe_layer.h"

#include <utility>

#include "comm/activity.h"
#include "comm/base/status_macros.h"

namespace moe {

absl::Status MoeLayer::Forward(LayerContext& context, Tensor out_TD,
                               MoeSaved& saved, Routing& routing,
                               const Tensor& x_TD, const LayerWeights& weights,
                               const BatchShape& batch) const {
  RETURN_IF_ERROR(Route(context, routing, x_TD, weights, batch));
  if (recompute_ != Recompute::kExperts) {
    RETURN_IF_ERROR(Dispatch(context, saved, routing, x_TD));
    return ForwardExperts(context, out_TD, saved.plan, saved.experts, weights);
  }
  const PhaseScope phase(Phase::kDispatch);
  RETURN_IF_ERROR(
      dispatcher_.MakePlan(context, saved.plan, routing.dispatched_ids_TK));
  saved.num_dropped = routing.expert_ids_TK.size() - saved.plan.num_sent_rows;
  ASSIGN_OR_RETURN(saved.num_chunks,
                   dispatcher_.NumChunks(saved.plan, max_expert_rows_));
  const auto forward = [&](const DispatchPlan& plan, int64_t) -> absl::Status {
    ExpertsSaved experts;  // made again in backward
    RETURN_IF_ERROR(dispatcher_.Dispatch(context, experts.rows_RD,
                                         experts.weight_R, plan, x_TD,
                                         routing.weights_TK));
    return ForwardExperts(context, out_TD, plan, experts, weights);
  };
  return ForEachChunk(context, saved, routing, forward);
}

absl::Status MoeLayer::RecomputeForward(LayerContext& context, MoeSaved& saved,
                                        const Tensor& x_TD,
                                        const LayerWeights& weights,
                                        const BatchShape& batch) const {
  Routing routing;  // the same once more
  RETURN_IF_ERROR(Route(context, routing, x_TD, weights, batch));
  {
    const PhaseScope phase(Phase::kDispatch);
    RETURN_IF_ERROR(
        dispatcher_.RemakePlan(context, saved.plan, routing.dispatched_ids_TK));
  }
  return RecomputeExperts(context, saved.experts, saved.plan, x_TD,
                          routing.weights_TK, weights);
}

absl::Status MoeLayer::Backward(LayerContext& context, Tensor d_x_TD,
                                LayerWeights& gradients, const Tensor& d_out_TD,
                                const RouterLossGradients& losses,
                                const MoeSaved& saved, const Routing& routing,
                                const Tensor& x_TD, const LayerWeights& weights,
                                const BatchShape& batch) const {
  ArenaScope scope(context.scratch);
  const Tensor& weights_TK = routing.weights_TK;
  ASSIGN_OR_RETURN(
      Tensor d_weights_TK,
      context.scratch.Allocate({weights_TK.dim(0), weights_TK.dim(1)},
                               DType::kFloat32));
  if (recompute_ != Recompute::kExperts) {
    RETURN_IF_ERROR(BackwardExperts(context, d_x_TD, d_weights_TK, gradients,
                                    saved.plan, saved.experts, d_out_TD,
                                    weights, /*accumulate=*/false));
  } else {
    const auto backward = [&](const DispatchPlan& plan,
                              int64_t chunk) -> absl::Status {
      ExpertsSaved experts;
      RETURN_IF_ERROR(
          RecomputeExperts(context, experts, plan, x_TD, weights_TK, weights));
      return BackwardExperts(context, d_x_TD, d_weights_TK, gradients, plan,
                             experts, d_out_TD, weights,
                             /*accumulate=*/chunk > 0);
    };
    RETURN_IF_ERROR(ForEachChunk(context, saved, routing, backward));
  }
  const PhaseScope phase(Phase::kRouterBackward);
  return router_.Backward(context, d_x_TD, gradients.gate_ED, d_weights_TK,
                          losses.balance_BE, losses.z_scale, x_TD, routing,
                          weights.gate_ED, batch);
}

absl::Status MoeLayer::Route(LayerContext& context, Routing& routing,
                             const Tensor& x_TD, const LayerWeights& weights,
                             const BatchShape& batch) const {
  const PhaseScope phase(Phase::kRouter);
  return router_.Forward(context, routing, x_TD, weights.gate_ED, batch);
}

// The rows are sorted while their counts go to the host. How many there are is
// not known then, so that with a capacity there is room for all choices.
absl::Status MoeLayer::Dispatch(LayerContext& context, MoeSaved& saved,
                                const Routing& routing,
                                const Tensor& x_TD) const {
  const PhaseScope phase(Phase::kDispatch);
  ArenaScope scope(context.scratch);
  DispatchPlan& plan = saved.plan;
  const Tensor& ids_TK = routing.dispatched_ids_TK;
  ASSIGN_OR_RETURN(HostCopy counts_E,
                   dispatcher_.StartPlan(context, plan, ids_TK));
  ASSIGN_OR_RETURN(
      const SortedRows sorted,
      dispatcher_.SortRows(context, plan, x_TD, routing.weights_TK));
  RETURN_IF_ERROR(dispatcher_.FinishPlan(context, plan, std::move(counts_E)));
  saved.num_dropped = ids_TK.size() - plan.num_sent_rows;
  return dispatcher_.SendRows(context, saved.experts.rows_RD,
                              saved.experts.weight_R, plan, sorted);
}

absl::Status MoeLayer::ForwardExperts(LayerContext& context, Tensor out_TD,
                                      const DispatchPlan& plan,
                                      ExpertsSaved& saved,
                                      const LayerWeights& weights) const {
  ArenaScope scope(context.scratch);
  PhaseScope phase(Phase::kExperts);
  Tensor expert_out_RD;
  RETURN_IF_ERROR(ExpertsForward(context, expert_out_RD, saved, weights,
                                 plan.expert_offsets));
  phase.Enter(Phase::kCombine);
  return dispatcher_.Combine(context, out_TD, plan, expert_out_RD);
}

absl::Status MoeLayer::RecomputeExperts(LayerContext& context,
                                        ExpertsSaved& saved,
                                        const DispatchPlan& plan,
                                        const Tensor& x_TD,
                                        const Tensor& weights_TK,
                                        const LayerWeights& weights) const {
  PhaseScope phase(Phase::kDispatch);
  RETURN_IF_ERROR(dispatcher_.Dispatch(context, saved.rows_RD, saved.weight_R,
                                       plan, x_TD, weights_TK));
  phase.Enter(Phase::kExperts);
  return ExpertsGateUp(context, saved, weights, plan.expert_offsets);
}

absl::Status MoeLayer::BackwardExperts(
    LayerContext& context, Tensor d_x_TD, Tensor d_weights_TK,
    LayerWeights& gradients, const DispatchPlan& plan,
    const ExpertsSaved& experts, const Tensor& d_out_TD,
    const LayerWeights& weights, bool accumulate) const {
  ArenaScope scope(context.scratch);
  PhaseScope phase(Phase::kCombineBackward);
  Tensor d_expert_out_RD;
  RETURN_IF_ERROR(
      dispatcher_.CombineBackward(context, d_expert_out_RD, plan, d_out_TD));
  phase.Enter(Phase::kExpertsBackward);
  Tensor d_rows_RD;
  Tensor d_weight_R;
  Tensor hidden_RF;
  RETURN_IF_ERROR(ExpertsInputGradients(context, d_rows_RD, d_weight_R,
                                        hidden_RF, d_expert_out_RD, experts,
                                        weights, plan.expert_offsets));
  phase.Enter(Phase::kDispatchBackward);
  ASSIGN_OR_RETURN(
      ReturningGradients returning,
      dispatcher_.StartDispatchBackward(context, plan, d_rows_RD, d_weight_R));
  phase.Enter(Phase::kExpertsBackward);
  {
    const ProgressScope progress(context.kernels,
                                 [&returning] { returning.Progress(); });
    ExpertsWeightGradients(context, gradients, d_expert_out_RD, hidden_RF,
                           experts, plan.expert_offsets);
  }
  phase.Enter(Phase::kDispatchBackward);
  return dispatcher_.FinishDispatchBackward(context, d_x_TD, d_weights_TK, plan,
                                            std::move(returning), accumulate);
}

absl::Status MoeLayer::ForEachChunk(
    LayerContext& context, const MoeSaved& saved, const Routing& routing,
    absl::FunctionRef<absl::Status(const DispatchPlan&, int64_t chunk)> pass)
    const {
  for (int64_t chunk = 0; chunk < saved.num_chunks; ++chunk) {
    ArenaScope kept(context.saved);
    ArenaScope scope(context.scratch);
    if (saved.num_chunks == 1) return pass(saved.plan, chunk);
    DispatchPlan plan = ChunkOf(saved.plan, chunk, saved.num_chunks);
    {
      const PhaseScope phase(Phase::kDispatch);
      ASSIGN_OR_RETURN(
          const Tensor ids_TK,
          dispatcher_.ChunkIds(context, routing.dispatched_ids_TK, saved.plan,
                               chunk, saved.num_chunks));
      RETURN_IF_ERROR(dispatcher_.RemakePlan(context, plan, ids_TK));
    }
    RETURN_IF_ERROR(pass(plan, chunk));
  }
  return absl::OkStatus();
}

}  // namespace moe
