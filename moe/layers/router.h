#ifndef MOE_LAYERS_ROUTER_H_
#define MOE_LAYERS_ROUTER_H_

#include "absl/status/status.h"
#include "moe/layers/batch_shape.h"
#include "moe/layers/capacity.h"
#include "moe/layers/layer_context.h"
#include "moe/layers/tensor_parallel.h"
#include "moe/model_config.pb.h"
#include "moe/tensor.h"

namespace moe {

// The gate: which K of E experts each token goes to, and with what weights.
// All of it in float32, because a rounded logit flips experts.

// What the router said of T tokens: all of it is Router::Forward's. But the
// caller says where the load goes, so that the load of all layers lies together
// and is copied to the host at once.
struct Routing {
  Tensor probabilities_TE;  // float32
  Tensor expert_ids_TK;     // int32, the choices
  // The choices with -1 for those beyond an expert's capacity, which are
  // dropped; the same tensor where none can be.
  Tensor dispatched_ids_TK;
  Tensor weights_TK;     // float32
  Tensor log_sum_exp_T;  // float32, of the logits
  // The load, which the balancing terms are made from: of all sequences of the
  // tensor group, but of this rank's tokens only. Null: not wanted.
  Tensor counts_BE;            // float32, choices of e in sequence b
  Tensor probability_sums_BE;  // float32
};

class Router {
 public:
  Router(const ModelConfig& model, const RouterConfig& config,
         const TensorParallel& tensor);

  // Collective over the tensor group where there is a capacity.
  absl::Status Forward(LayerContext& context, Routing& routing,
                       const Tensor& x_TD, const Tensor& gate_ED,
                       const BatchShape& batch) const;

  // d_x += (float32). balance_BE: the auxiliary loss's derivative by a token's
  // probability of e in sequence b. z_scale: the z-loss's weight of one
  // token's squared log-sum-exp.
  absl::Status Backward(LayerContext& context, Tensor d_x_TD, Tensor d_gate_ED,
                        const Tensor& d_weights_TK, const Tensor& balance_BE,
                        float z_scale, const Tensor& x_TD,
                        const Routing& routing, const Tensor& gate_ED,
                        const BatchShape& batch) const;

 private:
  absl::Status Choose(LayerContext& context, Routing& routing,
                      const Tensor& x_TD, const Tensor& gate_ED) const;

  TopKOptions top_k_;
  Capacity capacity_;
};

}  // namespace moe

#endif  // MOE_LAYERS_ROUTER_H_
