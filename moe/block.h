#ifndef MOE_BLOCK_H_
#define MOE_BLOCK_H_

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "moe/attention.h"
#include "moe/experts.h"
#include "moe/layer_context.h"
#include "moe/recompute.h"
#include "moe/router.h"
#include "moe/token_dispatcher.h"
#include "moe/weights.h"

namespace moe {

// One transformer block: x += attention(norm(x)); x += experts(norm(x)).
// T tokens of this rank, D model width.

// What the norms yield is not kept: to make it again takes a thousandth of the
// time and a tenth of the memory.
struct BlockSaved {
  Tensor x_TD;  // the residual stream coming in, float32
  Tensor inverse_rms_T;
  AttentionSaved attention;
  Tensor middle_TD;  // the residual stream after attention, float32
  Tensor middle_inverse_rms_T;
  DispatchPlan plan;
  int64_t num_chunks = 1;  // the experts' rows come in so many
  ExpertsSaved experts;
};

class Block {
 public:
  Block(const ModelConfig& model, const Attention& attention,
        const Router& router, const TokenDispatcher& dispatcher,
        Recompute recompute, int64_t max_expert_rows)
      : epsilon_(static_cast<float>(model.rms_norm_eps())),
        attention_(attention),
        router_(router),
        dispatcher_(dispatcher),
        recompute_(recompute),
        max_expert_rows_(max_expert_rows) {}

  // out (float32): the residual stream going out.
  absl::Status Forward(LayerContext& context, Tensor out_TD, BlockSaved& saved,
                       Routing& routing, const Tensor& x_TD,
                       const LayerWeights& weights,
                       const BatchShape& batch) const;
  // With Recompute::kBlock, before the backward: `saved` again, in
  // context.saved, from saved.x_TD. Collective like Forward.
  absl::Status ForwardAgain(LayerContext& context, BlockSaved& saved,
                            const LayerWeights& weights,
                            const BatchShape& batch) const;

  // d_x is the residual stream's gradient, from that of the output to that of
  // the input, in place. The expert part comes first, then attention; each is
  // what the forward did, read upwards.
  absl::Status BackwardExperts(LayerContext& context, Tensor d_x_TD,
                               LayerWeights& gradients, const BlockSaved& saved,
                               const Routing& routing, const Tensor& balance_BE,
                               float z_scale, const LayerWeights& weights,
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
  // Up to the plan of the dispatch; x_normed, in context.scratch, is what is to
  // be dispatched.
  absl::Status UpToPlan(LayerContext& context, BlockSaved& saved,
                        Routing& routing, Tensor& x_normed_TD,
                        const Tensor& x_TD, const LayerWeights& weights,
                        const BatchShape& batch) const;
  // Tokens to the experts and back, added to out.
  absl::Status ForwardExperts(LayerContext& context, Tensor out_TD,
                              const DispatchPlan& plan, ExpertsSaved& saved,
                              const Tensor& x_TD, const Routing& routing,
                              const LayerWeights& weights) const;
  // The part of it that backward needs, once more.
  absl::Status ExpertsAgain(LayerContext& context, ExpertsSaved& saved,
                            const DispatchPlan& plan, const Tensor& x_TD,
                            const Routing& routing,
                            const LayerWeights& weights) const;
  // Its gradients by x and the routing weights, which `experts` saved.
  absl::Status BackwardThroughExperts(
      LayerContext& context, Tensor d_x_TD, Tensor d_weights_TK,
      LayerWeights& gradients, const DispatchPlan& plan,
      const ExpertsSaved& experts, const Tensor& d_out_TD,
      const LayerWeights& weights, bool accumulate) const;
  // Calls pass(plan, chunk) with the plan of one chunk of the rows after
  // another; what is allocated meanwhile is released after each.
  absl::Status ForEachChunk(
      LayerContext& context, const BlockSaved& saved, const Routing& routing,
      absl::FunctionRef<absl::Status(const DispatchPlan&, int64_t chunk)> pass)
      const;
  absl::Status PlanOfChunk(LayerContext& context, DispatchPlan& plan,
                           const BlockSaved& saved, const Routing& routing,
                           int64_t chunk) const;

  float epsilon_;
  const Attention& attention_;
  const Router& router_;
  const TokenDispatcher& dispatcher_;
  Recompute recompute_;
  int64_t max_expert_rows_;  // at once, with Recompute::kExperts; 0: any
};

}  // namespace moe

#endif  // MOE_BLOCK_H_
