#ifndef MOE_MODEL_CONFIG_H_
#define MOE_MODEL_CONFIG_H_

#include <cstdint>

#include "absl/status/status.h"
#include "moe/kernels.h"
#include "moe/model_config.pb.h"
#include "moe/recompute.h"

namespace moe {

// Ranges and divisibility of every value, and combinations that no test
// covers. InvalidArgument names the key, the value and the limit.
absl::Status ValidateModel(const ModelConfig& config);
absl::Status ValidateRouter(const RouterConfig& config);

// head_dim, or hidden_size / num_attention_heads when it is 0.
int64_t HeadDim(const ModelConfig& config);

// Of the heads that one of `tensor_ranks` has; without a length.
AttentionShape MakeAttentionShape(const ModelConfig& config, int tensor_ranks);

// The auxiliary loss, without its coefficient, of perfectly balanced routers:
// 1 for each layer, summed (SWITCH), or top-k (HF_MIXTRAL).
double AuxLossAtBalance(const ModelConfig& model, const RouterConfig& router);

// Rows that an expert takes of a sequence of `length` tokens:
// ceil(capacity_factor K length / E), from 1 to length, more than which cannot
// be. Dropless: length.
int64_t ExpertCapacity(const ModelConfig& model, const RouterConfig& router,
                       int64_t length);
// Rows of a sequence that reach experts when tokens are spread evenly: K L, or
// what the capacities let in.
int64_t EvenRowsOfSequence(const ModelConfig& model, const RouterConfig& router,
                           int64_t length);

// Parameters of the whole model, and those that one token passes through.
struct ParameterCounts {
  int64_t total = 0;
  int64_t active = 0;
};
ParameterCounts CountParameters(const ModelConfig& config);

// Floating-point operations of forward and backward for one token: 6 for each
// active parameter (the head counted, the embedding's look-up not) plus 6
// layers heads head_dim length for causal attention.
double ModelFlopsPerToken(const ModelConfig& config, int64_t length);
// Those that backward spends on computing forward again, not counted in the
// above: what backward does not need (down projections) is left out.
double RecomputedFlopsPerToken(const ModelConfig& config, int64_t length,
                               Recompute recompute);

}  // namespace moe

#endif  // MOE_MODEL_CONFIG_H_
