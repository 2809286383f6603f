#ifndef DATA_BLEND_ORDER_H_
#define DATA_BLEND_ORDER_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace moe {

// Which of several sources stands at each position of an endless blend: after
// any number n of positions a source of share w (its weight over the sum of
// all) stands at floor(n w) or ceil(n w) of them. Any position is computed
// alone, from a table of one period of at most kMostPeriod positions; shares
// that are no multiples of 1/period for any such period (0.7 and 0.3 are, for
// 10) are rounded to multiples of 1/kMostPeriod.
class BlendOrder {
 public:
  static constexpr int64_t kMostPeriod = 65536;

  // InvalidArgument: a weight that is not positive and finite, or less than
  // 1/kMostPeriod of the sum.
  static absl::StatusOr<BlendOrder> Create(absl::Span<const double> weights);

  struct Place {
    int source;
    int64_t index;  // how many positions before this one are the source's
  };
  Place At(int64_t position) const;
  // What the source really gets of all positions.
  double ShareOf(int source) const {
    return static_cast<double>(counts_[static_cast<size_t>(source)]) /
           static_cast<double>(period());
  }
  int64_t period() const { return static_cast<int64_t>(slots_.size()); }

 private:
  struct Slot {
    uint16_t source;
    uint32_t index;  // within the period
  };
  explicit BlendOrder(std::vector<int64_t> counts);

  std::vector<int64_t> counts_;  // of each source in one period
  std::vector<Slot> slots_;
};

}  // namespace moe

#endif  // DATA_BLEND_ORDER_H_
