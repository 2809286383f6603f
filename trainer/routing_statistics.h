#ifndef TRAINER_EXPERT_LOAD_H_
#define TRAINER_EXPERT_LOAD_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "moe/router.h"

namespace moe {

// How evenly a layer's tokens were spread over its experts in one step.
struct LayerLoad {
  double max_over_mean = 0;
  int64_t experts_without_tokens = 0;
};

// Counts the choices of every expert over a step's micro-batches.
class ExpertLoadCounter {
 public:
  ExpertLoadCounter(int64_t num_layers, int64_t num_experts);

  void Clear();
  // This rank's routings of one micro-batch, a layer each.
  void Add(absl::Span<const Routing> routings);
  // [layers, E] counts; ranks' counts may be summed in place.
  absl::Span<double> counts() { return absl::MakeSpan(counts_LE_); }
  absl::Span<const double> counts() const { return counts_LE_; }

  // Of the counts as they are now. An untouched layer has load 0.
  std::vector<LayerLoad> Statistics() const;

 private:
  size_t num_experts_;
  std::vector<double> counts_LE_;
};

}  // namespace moe

#endif  // TRAINER_EXPERT_LOAD_H_
