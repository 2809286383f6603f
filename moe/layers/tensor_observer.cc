#include "moe/layers/tensor_observer.h"

#include "comm/base/check.h"

namespace moe {

absl::string_view Name(TensorKind kind) {
  switch (kind) {
    case TensorKind::kEmbeddingPart:
    case TensorKind::kEmbedding:
      return "embedding";
    case TensorKind::kAttentionInput:
      return "normed input of attention";
    case TensorKind::kQueryKeyValue:
      return "queries, keys and values";
    case TensorKind::kAttentionHeads:
      return "attention heads";
    case TensorKind::kAttentionPart:
    case TensorKind::kAttentionOutput:
      return "attention output";
    case TensorKind::kExpertsInput:
      return "normed input of router and experts";
    case TensorKind::kRouterLogits:
      return "router logits";
    case TensorKind::kRoutingWeights:
      return "routing weights";
    case TensorKind::kExpertGateUp:
      return "gate and up projection";
    case TensorKind::kExpertHidden:
      return "hidden values";
    case TensorKind::kExpertOutput:
      return "output";
    case TensorKind::kLayerOutput:
      return "residual stream";
    case TensorKind::kFinalNorm:
      return "final norm";
    case TensorKind::kLogits:
      return "logits";
    case TensorKind::kCrossEntropy:
      return "cross-entropy";
    case TensorKind::kAuxLoss:
      return "auxiliary loss";
    case TensorKind::kZLoss:
      return "z-loss";
    case TensorKind::kFinalNormGradient:
      return "gradient of the final norm's input";
    case TensorKind::kExpertsGradient:
      return "gradient of the experts' input";
    case TensorKind::kAttentionGradient:
      return "gradient of attention's input";
  }
  CHECK(false && "not a TensorKind");
  return "";
}

}  // namespace moe
