#ifndef TESTS_MOE_REFERENCE_ROUTER_H_
#define TESTS_MOE_REFERENCE_ROUTER_H_

#include <cstddef>
#include <vector>

#include "moe/model_config.pb.h"
#include "tests/moe/reference_ops.h"

namespace moe::reference {

// Where one token goes in one layer.
struct Route {
  Vector probabilities;         // over all experts
  std::vector<size_t> experts;  // the chosen, most probable first
  Vector weights;               // of the chosen
  double log_sum_exp = 0;       // of the logits
  std::vector<bool> kept;       // of the chosen: the others are dropped
  // How far, at least, the probability of a dropped choice is from that of a
  // kept one of the same expert; 1 if that decides nothing.
  double drop_margin = 1;
};

Route Choose(const Vector& logits, size_t top_k, bool renormalize);

// Lets each expert keep ceil(capacity_factor K length / E) choices of one
// sequence's routes, if there is a capacity_factor.
void DropBeyondCapacity(std::vector<Route>& routes, const RouterConfig& config);

// The logits' gradient from that of the weights, of all probabilities (from
// the auxiliary loss) and of the log-sum-exp (from the z-loss).
Vector ChooseBackward(const Vector& d_weights, const Vector& d_probabilities,
                      double d_log_sum_exp, const Route& route,
                      bool renormalize);

// The auxiliary loss of one micro-batch: routes[layer][token], the sequences
// one after another, global_sequences in the global batch.
struct AuxLoss {
  double value = 0;
  // [layer][token][expert], by that token's probability.
  std::vector<Rows> d_probabilities;
};
AuxLoss ComputeAuxLoss(const std::vector<std::vector<Route>>& routes,
                       size_t length, size_t global_sequences,
                       const RouterConfig& config);

}  // namespace moe::reference

#endif  // TESTS_MOE_REFERENCE_ROUTER_H_
