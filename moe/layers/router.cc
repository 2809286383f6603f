#include "moe/layers/router.h"

#include "comm/base/status_macros.h"

namespace moe {

Router::Router(const ModelConfig& model, const RouterConfig& config,
               const TensorParallel& tensor)
    : top_k_{.num_experts_per_token = model.num_experts_per_tok(),
             .renormalize = config.renormalize(),
             .force_balance = config.force_balance()},
      capacity_(model, config, tensor) {}

absl::Status Router::Forward(LayerContext& context, Routing& routing,
                             const Tensor& x_TD, const Tensor& gate_ED,
                             const BatchShape& batch) const {
  RETURN_IF_ERROR(Choose(context, routing, x_TD, gate_ED));
  if (!routing.counts_BE.is_null()) {
    context.kernels.ExpertLoad(routing.counts_BE, routing.probability_sums_BE,
                               routing.expert_ids_TK, routing.probabilities_TE,
                               batch.first_token, batch.length);
  }
  ASSIGN_OR_RETURN(routing.dispatched_ids_TK,
                   capacity_.Apply(context, routing.expert_ids_TK,
                                   routing.probabilities_TE, batch));
  return absl::OkStatus();
}

absl::Status Router::Choose(LayerContext& context, Routing& routing,
                            const Tensor& x_TD, const Tensor& gate_ED) const {
  ArenaScope scope(context.scratch);
  const int64_t T = x_TD.dim(0);
  const int64_t E = gate_ED.dim(0);
  const int64_t K = top_k_.num_experts_per_token;
  const DType f32 = DType::kFloat32;
  Arena& saved = context.routing_arena();
  ASSIGN_OR_RETURN(routing.probabilities_TE, saved.Allocate({T, E}, f32));
  ASSIGN_OR_RETURN(routing.expert_ids_TK,
                   saved.Allocate({T, K}, DType::kInt32));
  ASSIGN_OR_RETURN(routing.weights_TK, saved.Allocate({T, K}, f32));
  ASSIGN_OR_RETURN(routing.log_sum_exp_T, saved.Allocate({T}, f32));

  ASSIGN_OR_RETURN(Tensor logits_TE, context.scratch.Allocate({T, E}, f32));
  ASSIGN_OR_RETURN(Tensor x32_TD, InDType(context, x_TD, DType::kFloat32));
  context.kernels.LinearForward(logits_TE, x32_TD, gate_ED,
                                /*accumulate=*/false);
  Show(context, TensorKind::kRouterLogits, logits_TE);
  context.kernels.RouterTopK(routing.probabilities_TE, routing.expert_ids_TK,
                             routing.weights_TK, routing.log_sum_exp_T,
                             logits_TE, top_k_);
  Show(context, TensorKind::kRoutingWeights, routing.weights_TK);
  return absl::OkStatus();
}

absl::Status Router::Backward(LayerContext& context, Tensor d_x_TD,
                              Tensor d_gate_ED, const Tensor& d_weights_TK,
                              const Tensor& balance_BE, float z_scale,
                              const Tensor& x_TD, const Routing& routing,
                              const Tensor& gate_ED,
                              const BatchShape& batch) const {
  ArenaScope scope(context.scratch);
  const int64_t T = x_TD.dim(0);
  ASSIGN_OR_RETURN(
      Tensor d_logits_TE,
      context.scratch.Allocate({T, gate_ED.dim(0)}, DType::kFloat32));
  context.kernels.RouterBackward(
      d_logits_TE, d_weights_TK, balance_BE, routing.probabilities_TE,
      routing.expert_ids_TK, routing.weights_TK, routing.log_sum_exp_T, z_scale,
      batch.first_token, batch.length, top_k_.renormalize);
  if (!d_gate_ED.is_null()) {
    ASSIGN_OR_RETURN(Tensor x32_TD, InDType(context, x_TD, DType::kFloat32));
    context.kernels.LinearWeightGradient(d_gate_ED, d_logits_TE, x32_TD);
  }
  context.kernels.LinearInputGradient(d_x_TD, d_logits_TE, gate_ED,
                                      /*accumulate=*/true);
  return absl::OkStatus();
}

}  // namespace moe
