#include "moe/layers/capacity.h"

#include "comm/base/status_macros.h"
#include "moe/model_config.h"

namespace moe {

absl::StatusOr<Tensor> Capacity::Apply(LayerContext& context,
                                       const Tensor& expert_ids_TK,
                                       const Tensor& probabilities_TE,
                                       const BatchShape& batch) const {
  const int64_t capacity = ExpertCapacity(model_, config_, batch.length);
  // A token chooses an expert at most once.
  if (capacity == batch.length) return expert_ids_TK;
  const int64_t T = expert_ids_TK.dim(0);
  const int64_t K = expert_ids_TK.dim(1);
  ASSIGN_OR_RETURN(Tensor kept_ids_TK,
                   context.routing_arena().Allocate({T, K}, DType::kInt32));
  ArenaScope scope(context.scratch);
  ASSIGN_OR_RETURN(Tensor expert_ids_SK,
                   tensor_.Gather(context, context.scratch, expert_ids_TK));
  Tensor chosen_SK;
  if (config_.drop_policy() == RouterConfig::PROBABILITY) {
    ASSIGN_OR_RETURN(Tensor chosen_TK,
                     context.scratch.Allocate({T, K}, DType::kFloat32));
    context.kernels.ChosenProbabilities(chosen_TK, probabilities_TE,
                                        expert_ids_TK);
    ASSIGN_OR_RETURN(chosen_SK,
                     tensor_.Gather(context, context.scratch, chosen_TK));
  }
  context.kernels.ApplyCapacity(kept_ids_TK, expert_ids_SK, chosen_SK,
                                {.num_experts = probabilities_TE.dim(1),
                                 .capacity = capacity,
                                 .first_token = batch.first_token,
                                 .length = batch.length});
  return kept_ids_TK;
}

}  // namespace moe
