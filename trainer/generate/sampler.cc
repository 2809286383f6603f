#include "trainer/generate/sampler.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <vector>

#include "absl/strings/str_cat.h"
#include "comm/base/check.h"

namespace moe {
namespace {

// The `count` likeliest ids, in falling order.
std::vector<int32_t> LikeliestIds(absl::Span<const float> logits,
                                  size_t count) {
  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  std::partial_sort(ids.begin(),
                    ids.begin() + static_cast<std::ptrdiff_t>(count), ids.end(),
                    [&](int32_t a, int32_t b) {
                      const float x = logits[static_cast<size_t>(a)];
                      const float y = logits[static_cast<size_t>(b)];
                      return x > y || (x == y && a < b);
                    });
  ids.resize(count);
  return ids;
}

}  // namespace

absl::Status ValidateSampling(const SamplingOptions& options) {
  if (!std::isfinite(options.temperature) || options.temperature < 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--temperature is ", options.temperature, ", must be at least 0"));
  }
  if (options.top_k < 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--top-k is ", options.top_k, ", must be at least 0 (0: all)"));
  }
  if (!(options.top_p > 0 && options.top_p <= 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--top-p is ", options.top_p,
                     ", must be greater than 0 and at most 1 (1: all)"));
  }
  return absl::OkStatus();
}

int32_t SampleToken(absl::Span<const float> logits,
                    const SamplingOptions& options, double uniform) {
  CHECK(!logits.empty());
  if (options.temperature == 0 || options.top_k == 1)
    return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) -
                                logits.begin());

  const size_t count =
      options.top_k == 0
          ? logits.size()
          : std::min(logits.size(), static_cast<size_t>(options.top_k));
  const std::vector<int32_t> ids = LikeliestIds(logits, count);

  // sums[i]: the share of the i + 1 likeliest, not yet divided by all of it.
  const double largest = logits[static_cast<size_t>(ids[0])];
  std::vector<double> sums;
  double sum = 0;
  for (int32_t id : ids) {
    sum += std::exp(
        (static_cast<double>(logits[static_cast<size_t>(id)]) - largest) /
        options.temperature);
    sums.push_back(sum);
  }
  if (options.top_p < 1) {
    const auto enough =
        std::lower_bound(sums.begin(), sums.end(), options.top_p * sum);
    sums.erase(std::min(enough, sums.end() - 1) + 1, sums.end());
  }
  const auto chosen =
      std::upper_bound(sums.begin(), sums.end(), uniform * sums.back());
  return ids[std::min(static_cast<size_t>(chosen - sums.begin()),
                      sums.size() - 1)];
}

}  // namespace moe
