#ifndef MOE_LAYERS_MOE_LAYER_H_
#define MOE_LAYERS_MOE_LAYER_H_

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "moe/layers/batch_shape.h"
#include "moe/layers/dispatch_plan.h"
#include "moe/layers/experts.h"
#include "moe/layers/layer_context.h"
#include "moe/layers/router.h"
#include "moe/layers/token_dispatcher.h"
#include "moe/parameters/weights.h"
#include "moe/recompute.h"
#include "moe/tensor.h"

namespace moe {

// Forward's part that backward needs, beside the routing.
struct MoeSaved {
  DispatchPlan plan;
  int64_t num_chunks = 1;   // of the plan, in which the experts' rows come
  ExpertsSaved experts;     // not with Recompute::kExperts
  int64_t num_dropped = 0;  // choices of this rank's tokens
};

// What the losses of the routers say to a layer's router: the auxiliary loss's
// derivative by a token's probability of e in sequence b, and the z-loss's
// weight of one token's squared log-sum-exp.
struct RouterLossGradients {
  Tensor balance_BE;
  float z_scale = 0;
};

// The sparse Mixture-of-Experts layer (Shazeer et al., 2017), tokens in, tokens
// out: router -> capacity -> dispatch -> experts -> combine. Where memory is
// short the experts' rows come in chunks, or are dispatched again in backward
// (Recompute).
//
// T tokens of this rank, D model width, K experts per token.
class MoeLayer {
 public:
  MoeLayer(const Router& router, const TokenDispatcher& dispatcher,
           Recompute recompute, int64_t max_expert_rows)
      : router_(router),
        dispatcher_(dispatcher),
        recompute_(recompute),
        max_expert_rows_(max_expert_rows) {}

  // out (float32) += the chosen experts' outputs. Collective, like all of it.
  absl::Status Forward(LayerContext& context, Tensor out_TD, MoeSaved& saved,
                       Routing& routing, const Tensor& x_TD,
                       const LayerWeights& weights,
                       const BatchShape& batch) const;

  // With Recompute::kBlock: `saved` once more, of the same x.
  absl::Status RecomputeForward(LayerContext& context, MoeSaved& saved,
                                const Tensor& x_TD, const LayerWeights& weights,
                                const BatchShape& batch) const;

  // d_x (float32) is overwritten, from d_out (compute).
  absl::Status Backward(LayerContext& context, Tensor d_x_TD,
                        LayerWeights& gradients, const Tensor& d_out_TD,
                        const RouterLossGradients& losses,
                        const MoeSaved& saved, const Routing& routing,
                        const Tensor& x_TD, const LayerWeights& weights,
                        const BatchShape& batch) const;

 private:
  // Router and capacity.
  absl::Status Route(LayerContext& context, Routing& routing,
                     const Tensor& x_TD, const LayerWeights& weights,
                     const BatchShape& batch) const;
  // The plan that follows from them, and the tokens' way to the experts.
  absl::Status Dispatch(LayerContext& context, MoeSaved& saved,
                        const Routing& routing, const Tensor& x_TD) const;
  // The experts' outputs of saved.rows_RD, and the way back, added to out.
  absl::Status ForwardExperts(LayerContext& context, Tensor out_TD,
                              const DispatchPlan& plan, ExpertsSaved& saved,
                              const LayerWeights& weights) const;
  // The part of both that backward needs.
  absl::Status RecomputeExperts(LayerContext& context, ExpertsSaved& saved,
                                const DispatchPlan& plan, const Tensor& x_TD,
                                const Tensor& weights_TK,
                                const LayerWeights& weights) const;
  // Its gradients by x and by the routing weights, which it saved with the
  // rows.
  absl::Status BackwardExperts(LayerContext& context, Tensor d_x_TD,
                               Tensor d_weights_TK, LayerWeights& gradients,
                               const DispatchPlan& plan,
                               const ExpertsSaved& experts,
                               const Tensor& d_out_TD,
                               const LayerWeights& weights,
                               bool accumulate) const;
  // Calls pass(plan, chunk) with the plan of one chunk of the rows after
  // another, in forward and in backward; what is allocated meanwhile is
  // released after each.
  absl::Status ForEachChunk(
      LayerContext& context, const MoeSaved& saved, const Routing& routing,
      absl::FunctionRef<absl::Status(const DispatchPlan&, int64_t chunk)> pass)
      const;

  const Router& router_;
  const TokenDispatcher& dispatcher_;
  Recompute recompute_;
  int64_t max_expert_rows_;  // at once, with Recompute::kExperts; 0: any
};

}  // namespace moe

#endif  // MOE_LAYERS_MOE_LAYER_H_
