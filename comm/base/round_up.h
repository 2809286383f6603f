#ifndef MOE_COMM_BASE_ROUND_UP_H_
#define MOE_COMM_BASE_ROUND_UP_H_

#include <cstdint>

namespace moe {

// Of numbers that are not negative.

// How many units hold n.
constexpr int64_t CeilDiv(int64_t n, int64_t unit) {
  return (n + unit - 1) / unit;
}

// The least multiple of `unit` that is not below n.
constexpr int64_t RoundUp(int64_t n, int64_t unit) {
  return CeilDiv(n, unit) * unit;
}

}  // namespace moe

#endif  // MOE_COMM_BASE_ROUND_UP_H_
