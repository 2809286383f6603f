#ifndef MOE_LAYERS_TENSOR_OBSERVER_H_
#define MOE_LAYERS_TENSOR_OBSERVER_H_

#include "absl/strings/string_view.h"
#include "moe/tensor.h"

namespace moe {

// What a pass makes. Forward: in this order, those of a layer for each layer.
// Backward: from the end. A part is this rank's summand of what the tensor
// group adds up (TensorParallel), so that it is known whose it was.
enum class TensorKind {
  kEmbeddingPart,
  kEmbedding,
  kAttentionInput,  // normed
  kQueryKeyValue,
  kAttentionHeads,
  kAttentionPart,
  kAttentionOutput,  // added to the residual stream
  kExpertsInput,     // normed; the router's too
  kRouterLogits,
  kRoutingWeights,
  kExpertGateUp,
  kExpertHidden,
  kExpertOutput,
  kLayerOutput,  // the residual stream
  // After the layers.
  kFinalNorm,
  kLogits,
  kCrossEntropy,
  kAuxLoss,
  kZLoss,
  // The residual stream's gradient on its way down: where the head, a layer's
  // experts, its attention have added theirs.
  kFinalNormGradient,
  kExpertsGradient,
  kAttentionGradient,
};
inline constexpr int kNumTensorKinds = 22;

// For messages: "router logits".
absl::string_view Name(TensorKind kind);

inline bool IsGradient(TensorKind kind) {
  return kind >= TensorKind::kFinalNormGradient;
}

// Is shown what passes make, where they make it. It may read a tensor during
// the call only. Training has none: a pass then looks at a null pointer.
class TensorObserver {
 public:
  virtual ~TensorObserver() = default;
  // `layer` is -1 outside the layers, `local_expert` where the tensor is no
  // single expert's.
  virtual void Observe(TensorKind kind, int layer, int local_expert,
                       const Tensor& tensor) = 0;
};

}  // namespace moe

#endif  // MOE_LAYERS_TENSOR_OBSERVER_H_
