#ifndef TESTS_MOE_REFERENCE_MODEL_H_
#define TESTS_MOE_REFERENCE_MODEL_H_

#include <cstdint>
#include <vector>

#include "moe/model_config.pb.h"
#include "tests/moe/reference_block.h"
#include "tests/moe/reference_ops.h"
#include "tests/moe/reference_router.h"

namespace moe::reference {

// Sequences of `length` tokens one after another: all that all ranks see in
// one micro-step.
struct Tokens {
  std::vector<int32_t> inputs;
  std::vector<int32_t> targets;  // -1: none
  size_t length = 0;
  // Each token's index in its document; empty: a sequence is one document.
  std::vector<int32_t> positions = {};
};

// Without coefficients; means over the global batch, the cross-entropy over its
// targets.
struct Losses {
  double cross_entropy = 0;
  double aux = 0;
  double z = 0;
};
double Total(const Losses& losses, const RouterConfig& router);

struct Result {
  Losses losses;
  Tensors gradients;                       // of the total, if wanted
  Rows logits;                             // of every token
  std::vector<std::vector<Route>> routes;  // [layer][token]
};

// Mixtral, forward and (if `backward`) backward, over a global batch given as
// its micro-steps.
Result Compute(const ModelConfig& model, const RouterConfig& router,
               const Tensors& weights, const std::vector<Tokens>& micro_steps,
               bool backward);

}  // namespace moe::reference

#endif  // TESTS_MOE_REFERENCE_MODEL_H_
