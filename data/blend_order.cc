#include "data/blend_order.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "comm/base/status_macros.h"

namespace moe {
namespace {

absl::StatusOr<std::vector<double>> SharesOf(absl::Span<const double> weights) {
  double sum = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    if (!std::isfinite(weights[i]) || weights[i] <= 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("weight of source ", i, " is ", weights[i],
                       ", must be greater than 0"));
    }
    sum += weights[i];
  }
  std::vector<double> shares;
  for (size_t i = 0; i < weights.size(); ++i) {
    shares.push_back(weights[i] / sum);
    if (shares.back() * BlendOrder::kMostPeriod < 1) {
      return absl::InvalidArgumentError(absl::StrCat(
          "weight of source ", i, " is ", weights[i], ", must be at least 1/",
          BlendOrder::kMostPeriod, " of the sum of all (", sum, ")"));
    }
  }
  return shares;
}

// Whether every share is a multiple of 1/period, but for rounding of doubles.
bool Divides(absl::Span<const double> shares, int64_t period) {
  constexpr double kTolerance = 1e-9;
  return std::all_of(shares.begin(), shares.end(), [&](double share) {
    const double count = share * static_cast<double>(period);
    return count > 0.5 && std::abs(count - std::round(count)) < kTolerance;
  });
}

// Whole counts that add up to kMostPeriod, by the largest remainders.
std::vector<int64_t> RoundedCounts(absl::Span<const double> shares) {
  std::vector<int64_t> counts;
  std::vector<std::pair<double, size_t>> remainders;  // largest first
  int64_t left = BlendOrder::kMostPeriod;
  for (size_t i = 0; i < shares.size(); ++i) {
    const double exact = shares[i] * BlendOrder::kMostPeriod;
    counts.push_back(static_cast<int64_t>(exact));
    remainders.emplace_back(std::floor(exact) - exact, i);
    left -= counts.back();
  }
  std::sort(remainders.begin(), remainders.end());
  for (size_t i = 0; left > 0; ++i, --left) {
    ++counts[remainders[i % remainders.size()].second];
  }
  return counts;
}

std::vector<int64_t> CountsOf(absl::Span<const double> shares) {
  for (int64_t period = 1; period <= BlendOrder::kMostPeriod; ++period) {
    if (!Divides(shares, period)) continue;
    std::vector<int64_t> counts;
    for (const double share : shares) {
      counts.push_back(std::llround(share * static_cast<double>(period)));
    }
    return counts;
  }
  return RoundedCounts(shares);
}

}  // namespace

absl::StatusOr<BlendOrder> BlendOrder::Create(
    absl::Span<const double> weights) {
  ASSIGN_OR_RETURN(const std::vector<double> shares, SharesOf(weights));
  return BlendOrder(CountsOf(shares));
}

// The quota method of Balinski and Young ("The quota method of apportionment",
// American Mathematical Monthly 82, 1975): the next position goes to the source
// of the largest count / (had + 1) among those that stay within the ceiling of
// their share; they prove that none then falls below the floor of its own.
BlendOrder::BlendOrder(std::vector<int64_t> counts)
    : counts_(std::move(counts)) {
  const int64_t period =
      std::accumulate(counts_.begin(), counts_.end(), int64_t{0});
  std::vector<int64_t> had(counts_.size());
  for (int64_t position = 0; position < period; ++position) {
    size_t best = counts_.size();
    for (size_t i = 0; i < counts_.size(); ++i) {
      if (had[i] * period >= counts_[i] * (position + 1)) continue;
      if (best == counts_.size() ||
          counts_[i] * (had[best] + 1) > counts_[best] * (had[i] + 1)) {
        best = i;
      }
    }
    slots_.push_back(
        {static_cast<uint16_t>(best), static_cast<uint32_t>(had[best]++)});
  }
}

BlendOrder::Place BlendOrder::At(int64_t position) const {
  const Slot& slot = slots_[static_cast<size_t>(position % period())];
  return {slot.source, position / period() * counts_[slot.source] + slot.index};
}

}  // namespace moe
