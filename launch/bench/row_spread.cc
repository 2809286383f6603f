#include "launch/bench/row_spread.h"

namespace moe {

std::vector<int64_t> SpreadRows(int64_t R, int64_t E, const RowSpread& spread) {
  std::vector<double> sums = {0};
  for (int64_t e = 1; e <= E; ++e) {
    const double share =
        spread.share(static_cast<double>(e), static_cast<double>(E));
    sums.push_back(sums.back() + share);
  }
  std::vector<int64_t> offsets;
  for (double sum : sums)
    offsets.push_back(std::llround(static_cast<double>(R) * sum / sums.back()));
  return offsets;
}

}  // namespace moe
