#ifndef MOE_LANGUAGE_MODEL_H_
#define MOE_LANGUAGE_MODEL_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "comm/buffer.h"
#include "comm/process_groups.h"
#include "moe/balancing.h"
#include "moe/block.h"
#include "moe/gradient_listener.h"
#include "moe/layer_context.h"
#include "moe/model_config.h"
#include "moe/weights.h"

namespace moe {

// One micro-step of a tensor group, whose ranks are all given all S of its
// tokens. S may be 0: the group then joins the collectives with no tokens.
struct MicroBatch {
  Tensor inputs_S;          // int32, sequences one after another
  Tensor targets_S;         // int32, the next token of each; -1: none
  int64_t length = 0;       // of a sequence, also where S is 0
  Tensor positions_S = {};  // as in BatchShape
  BatchScale scale;
};

// This rank's share of each loss, without coefficients. Sums over ranks and
// micro-steps are: mean cross-entropy over the batch's targets; auxiliary
// loss, summed over layers (SWITCH); mean squared log-sum-exp of the router's
// logits, summed over layers.
struct LossTerms {
  double cross_entropy = 0;
  double aux = 0;
  double z = 0;
};

// The network of Mixtral (Jiang et al., "Mixtral of Experts", 2024):
//
//   tokens -> embedding -> [ norm -> attention -> norm -> router -> dispatch
//   -> experts -> combine ] x layers -> norm -> logits -> loss
//
// Weights and gradients are the caller's; the model keeps activations.
class LanguageModel {
 public:
  struct Options {
    ModelConfig model;
    RouterConfig router;
    DType compute_dtype = DType::kFloat32;
    int64_t max_length = 0;  // of a sequence
    Recompute recompute = Recompute::kNone;
    // With Recompute::kExperts: rows that experts take at once; 0: any number.
    int64_t max_expert_rows = 0;
  };
  // The groups and kernels outlive the model.
  static absl::StatusOr<std::unique_ptr<LanguageModel>> Create(
      const Options& options, const ParameterTable& table,
      const ProcessGroups& groups, KernelContext& kernels);

  LanguageModel(const LanguageModel&) = delete;
  LanguageModel& operator=(const LanguageModel&) = delete;

  // Adds to *losses. With gradients (training) Backward may follow, and the
  // head's gradient is already added; null is evaluation.
  absl::Status Forward(LossTerms* losses, const MicroBatch& batch,
                       const ModelWeights& weights, ModelWeights* gradients);

  // Adds to the gradients those of the last Forward, from the last layer to
  // the first, once: it overwrites part of what that saved. `listener` (may be
  // null) is told what is complete.
  absl::Status Backward(const MicroBatch& batch, const ModelWeights& weights,
                        ModelWeights& gradients, GradientListener* listener);

  // Logits of rows [first_row, first_row + logits.dim(0)) of the tokens, of
  // this rank's slice of the vocabulary.
  absl::Status Logits(Tensor logits_RV, const Tensor& inputs_S, int64_t length,
                      int64_t first_row, const ModelWeights& weights);

  // Of the last Forward, a layer each.
  absl::Span<const Routing> routings() const { return routings_; }

  // Is shown what the next passes make; null: nobody watches.
  void SetObserver(TensorObserver* observer) { context_.observer = observer; }
  int num_layers() const { return static_cast<int>(saved_.size()); }

  // Memory of activations, of what routers chose if it is kept apart from them
  // (Recompute::kBlock), and of the calls' scratch.
  const Arena& saved_arena() const { return saved_arena_; }
  const Arena& routing_arena() const { return routing_arena_; }
  const Arena& scratch_arena() const { return scratch_arena_; }

 private:
  LanguageModel(const Options& options, const ParameterTable& table,
                const ProcessGroups& groups, KernelContext& kernels,
                Buffer rotary_table);

  // Embedding and all blocks; releases what the last pass had saved.
  absl::Status RunBlocks(const Tensor& inputs_S, const BatchShape& batch,
                         const ModelWeights& weights);
  // Where this rank's tokens stand in S of sequences of `length`.
  BatchShape ShapeOf(const Tensor& inputs_S, int64_t length,
                     const Tensor& positions_S) const;
  absl::StatusOr<Tensor> FinalNorm(const ModelWeights& weights);

  Options options_;
  const ParameterTable& table_;
  KernelContext& kernels_;
  Buffer rotary_table_;
  Arena saved_arena_;
  Arena routing_arena_;
  Arena scratch_arena_;
  LayerContext context_;
  LayerContext again_context_;  // of blocks that are computed again
  TensorParallel tensor_;
  Attention attention_;
  Router router_;
  TokenDispatcher dispatcher_;
  Block block_;
  Balancing balancing_;

  std::vector<BlockSaved> saved_;
  std::vector<Routing> routings_;
  std::vector<Tensor> balance_;  // [B, E] a layer
  Tensor out_TD_;                // the residual stream after all blocks
  Tensor inverse_rms_T_;         // of the final norm
  Tensor d_normed_TD_;           // gradient of the final norm's output
};

}  // namespace moe

#endif  // MOE_LANGUAGE_MODEL_H_
