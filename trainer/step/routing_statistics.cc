#include "trainer/step/routing_statistics.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace moe {
namespace {

// The load's part of a layer's numbers, from `total` > 0 choices.
LayerRouting DescribeLoad(absl::Span<const double> counts_E, double total) {
  const double num_experts = static_cast<double>(counts_E.size());
  const double mean = total / num_experts;
  const auto [least, most] =
      std::minmax_element(counts_E.begin(), counts_E.end());
  double squares = 0;
  double entropy = 0;
  for (double count : counts_E) {
    squares += (count - mean) * (count - mean);
    if (count > 0) entropy -= count / total * std::log(count / total);
  }
  return {
      .load_max_over_mean = *most / mean,
      .load_min_over_mean = *least / mean,
      .load_cv = std::sqrt(squares / num_experts) / mean,
      .load_entropy = counts_E.size() > 1 ? entropy / std::log(num_experts) : 1,
      .experts_without_tokens =
          std::count(counts_E.begin(), counts_E.end(), 0.0)};
}

}  // namespace

RoutingStatistics::RoutingStatistics(int64_t num_layers, int64_t num_experts,
                                     int64_t top_k)
    : num_layers_(static_cast<size_t>(num_layers)),
      num_experts_(static_cast<size_t>(num_experts)),
      top_k_(static_cast<double>(top_k)),
      totals_(num_layers_ * (num_experts_ + kNumSums)) {}

void RoutingStatistics::Clear() {
  std::fill(totals_.begin(), totals_.end(), 0);
}

void RoutingStatistics::Add(const Pass& pass) {
  double* counts_E = totals_.data();
  double* sums = totals_.data() + num_layers_ * num_experts_;
  const size_t size = pass.balance.load.size() / (2 * num_layers_);
  for (size_t layer = 0; layer < num_layers_; ++layer) {
    const float* counts_BE = pass.balance.load.data() + layer * 2 * size;
    for (size_t i = 0; i < size; ++i)
      counts_E[i % num_experts_] += counts_BE[i];
    sums[kDropped] += static_cast<double>(pass.blocks[layer].moe.num_dropped);
    sums[kTopProbability] += pass.first_choice_sums[layer];
    sums[kAuxLoss] += pass.balance.layer_losses[layer];
    sums[kZLoss] += pass.z_losses[layer];
    counts_E += num_experts_;
    sums += kNumSums;
  }
}

std::vector<LayerRouting> RoutingStatistics::Layers() const {
  std::vector<LayerRouting> layers(num_layers_);
  const double* sums = totals_.data() + num_layers_ * num_experts_;
  for (size_t i = 0; i < num_layers_; ++i, sums += kNumSums) {
    const auto counts_E = counts().subspan(i * num_experts_, num_experts_);
    const double total = std::accumulate(counts_E.begin(), counts_E.end(), 0.0);
    if (total == 0) continue;
    layers[i] = DescribeLoad(counts_E, total);
    layers[i].dropped_fraction = sums[kDropped] / total;
    layers[i].top_probability = sums[kTopProbability] / (total / top_k_);
    layers[i].aux_loss = sums[kAuxLoss];
    layers[i].z_loss = sums[kZLoss];
  }
  return layers;
}

}  // namespace moe
