#include "trainer/expert_load.h"

#include <algorithm>
#include <numeric>

namespace moe {

ExpertLoadCounter::ExpertLoadCounter(int64_t num_layers, int64_t num_experts)
    : num_experts_(static_cast<size_t>(num_experts)),
      counts_LE_(static_cast<size_t>(num_layers * num_experts)) {}

void ExpertLoadCounter::Clear() {
  std::fill(counts_LE_.begin(), counts_LE_.end(), 0);
}

void ExpertLoadCounter::Add(absl::Span<const Routing> routings) {
  double* counts_E = counts_LE_.data();
  for (const Routing& routing : routings) {
    const float* counts_BE = routing.counts_BE.data<float>();
    const size_t size = static_cast<size_t>(routing.counts_BE.size());
    for (size_t i = 0; i < size; ++i)
      counts_E[i % num_experts_] += counts_BE[i];
    counts_E += num_experts_;
  }
}

std::vector<LayerLoad> ExpertLoadCounter::Statistics() const {
  std::vector<LayerLoad> layers;
  for (auto begin = counts_LE_.begin(); begin != counts_LE_.end();
       begin += static_cast<std::ptrdiff_t>(num_experts_)) {
    const auto end = begin + static_cast<std::ptrdiff_t>(num_experts_);
    const double mean =
        std::accumulate(begin, end, 0.0) / static_cast<double>(num_experts_);
    layers.push_back(
        {.max_over_mean = mean > 0 ? *std::max_element(begin, end) / mean : 0,
         .experts_without_tokens = std::count(begin, end, 0.0)});
  }
  return layers;
}

}  // namespace moe
