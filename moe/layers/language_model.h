#ifndef MOE_LAYERS_LANGUAGE_MODEL_H_
#define MOE_LAYERS_LANGUAGE_MODEL_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "comm/base/buffer.h"
#include "comm/process_groups.h"
#include "moe/layers/balancing.h"
#include "moe/layers/block.h"
#include "moe/layers/layer_context.h"
#include "moe/layers/micro_batch.h"
#include "moe/layers/moe_layer.h"
#include "moe/layers/pass.h"
#include "moe/model_config.h"
#include "moe/parameters/gradient_listener.h"
#include "moe/parameters/weights.h"

namespace moe {

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
// Weights, gradients and passes are the caller's: the model holds no
// activation, and its functions are the same for any number of passes.
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
      const ProcessGroups& groups, Kernels& kernels);

  LanguageModel(const LanguageModel&) = delete;
  LanguageModel& operator=(const LanguageModel&) = delete;

  // Fills the pass and adds to *losses. With gradients (training) Backward may
  // follow, and the head's gradient is already added; null is evaluation. What
  // the batch views outlives the pass.
  absl::Status Forward(Pass& pass, LossTerms* losses, const MicroBatch& batch,
                       const ModelWeights& weights,
                       ModelWeights* gradients) const;

  // Adds to the gradients those of the pass, from the last layer to the first,
  // and empties it. `listener` (may be null) is told what is complete. Stops
  // where nothing below is trained: neither computes nor tells of those parts,
  // by the table alone and so on all ranks alike.
  absl::Status Backward(Pass& pass, const ModelWeights& weights,
                        ModelWeights& gradients,
                        GradientListener* listener) const;

  // Logits of rows [first_row, first_row + logits.dim(0)) of the tokens, of
  // this rank's slice of the vocabulary. Leaves the pass empty.
  absl::Status Logits(Pass& pass, Tensor logits_RV, const Tensor& inputs_S,
                      int64_t length, int64_t first_row,
                      const ModelWeights& weights) const;

  int num_layers() const { return options_.model.num_hidden_layers(); }

 private:
  LanguageModel(const Options& options, const ParameterTable& table,
                const ProcessGroups& groups, Kernels& kernels,
                Buffer rotary_table);

  LayerContext ContextOf(Pass& pass) const;
  // Of blocks that are computed again: nobody watches, and what their routers
  // choose once more is kept no longer than the rest.
  LayerContext RecomputeContextOf(Pass& pass) const;
  // Where this rank's tokens stand in the batch.
  BatchShape ShapeOf(const MicroBatch& batch) const;

  // The parts of the forward, in their order: embedding and all blocks; the
  // routers' sums; the final norm; the head with the cross-entropy; what the
  // host makes of the numbers. All but the last leave them on the device.
  absl::Status RunBlocks(Pass& pass, LayerContext& context,
                         const MicroBatch& batch,
                         const ModelWeights& weights) const;
  void SumOverRouters(const Pass& pass) const;
  absl::StatusOr<Tensor> FinalNorm(Pass& pass, LayerContext& context,
                                   const ModelWeights& weights) const;
  absl::Status AddHeadLoss(Pass& pass, LayerContext& context,
                           const Tensor& normed_TD, const ModelWeights& weights,
                           ModelWeights* gradients) const;
  // Brings the numbers to the host, the one wait of a forward beside those for
  // row counts, and adds what follows from them to *losses.
  absl::Status ReadNumbers(Pass& pass, LossTerms* losses) const;
  absl::Status BackwardThroughBlock(Pass& pass, LayerContext& context,
                                    Tensor d_x_TD, int layer,
                                    const ModelWeights& weights,
                                    ModelWeights& gradients,
                                    GradientListener* listener) const;
  // Whether backward goes through a part: it or one below it is trained.
  bool NeedsBackward(ParameterRange part) const {
    return part.end > first_trained_;
  }

  Options options_;
  const ParameterTable& table_;
  const int first_trained_;
  Kernels& kernels_;
  Buffer rotary_table_;
  TensorParallel tensor_;
  Attention attention_;
  Router router_;
  TokenDispatcher dispatcher_;
  MoeLayer moe_layer_;
  Block block_;
  Balancing balancing_;
};

}  // namespace moe

#endif  // MOE_LAYERS_LANGUAGE_MODEL_H_
