#ifndef TRAINER_STEP_ROUTING_STATISTICS_H_
#define TRAINER_STEP_ROUTING_STATISTICS_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "moe/layers/pass.h"

namespace moe {

// How one layer's router worked in one step, over all tokens of the global
// batch. An expert's load is the number of choices of it, before any is
// dropped. Without tokens all is 0.
struct LayerRouting {
  double load_max_over_mean = 0;  // 1 at balance
  double load_min_over_mean = 0;  // 1 at balance
  // The loads' deviation (over all experts, not a sample) over their mean.
  double load_cv = 0;
  // -sum_e s_e ln s_e / ln E of the loads' shares s: 1 at balance, 0 when one
  // expert has all. 1 where there is but one expert.
  double load_entropy = 0;
  int64_t experts_without_tokens = 0;
  double dropped_fraction = 0;  // dropped choices over all
  // Probability of a token's first choice, mean over tokens.
  double top_probability = 0;
  // Before their coefficients; see Pass.
  double aux_loss = 0;
  double z_loss = 0;
};

// Sums what all layers' routers did over a step's micro-batches. The sums of
// ranks add up to those of the world.
class RoutingStatistics {
  enum Sum { kDropped, kTopProbability, kAuxLoss, kZLoss, kNumSums };

 public:
  RoutingStatistics(int64_t num_layers, int64_t num_experts, int64_t top_k);

  void Clear();
  // This rank's part of one micro-batch, after its forward.
  void Add(const Pass& pass);

  // All sums; ranks' may be added up in place.
  absl::Span<double> totals() { return absl::MakeSpan(totals_); }
  // [layers, E]: choices of each expert, the first of the totals.
  absl::Span<const double> counts() const {
    return absl::MakeConstSpan(totals_).first(num_layers_ * num_experts_);
  }

  // Of the sums as they are now.
  std::vector<LayerRouting> Layers() const;

 private:
  size_t num_layers_;
  size_t num_experts_;
  double top_k_;
  std::vector<double> totals_;  // counts [layers, E], then sums [layers, Sum]
};

}  // namespace moe

#endif  // TRAINER_STEP_ROUTING_STATISTICS_H_
