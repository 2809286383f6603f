#ifndef MOE_LAYERS_CAPACITY_H_
#define MOE_LAYERS_CAPACITY_H_

#include "absl/status/statusor.h"
#include "moe/layers/batch_shape.h"
#include "moe/layers/layer_context.h"
#include "moe/layers/tensor_parallel.h"
#include "moe/model_config.pb.h"
#include "moe/tensor.h"

namespace moe {

// Which choices an expert takes when it may take only so many of a sequence
// (Lepikhin et al., "GShard", 2020; RouterConfig's capacity_factor and
// drop_policy). A sequence is the same whole whatever the layout: where a
// tensor group shares it, the ranks show each other their choices, and each
// decides alike.
//
// Letters: T tokens of this rank, S of its tensor group, E experts, K experts
// per token.
class Capacity {
 public:
  Capacity(const ModelConfig& model, const RouterConfig& config,
           const TensorParallel& tensor)
      : model_(model), config_(config), tensor_(tensor) {}

  // The choices, with -1 for those that are dropped, in context.saved;
  // expert_ids itself where none can be. Collective over the tensor group.
  absl::StatusOr<Tensor> Apply(LayerContext& context,
                               const Tensor& expert_ids_TK,
                               const Tensor& probabilities_TE,
                               const BatchShape& batch) const;

 private:
  ModelConfig model_;
  RouterConfig config_;
  const TensorParallel& tensor_;
};

}  // namespace moe

#endif  // MOE_LAYERS_CAPACITY_H_
