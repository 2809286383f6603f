#ifndef COMM_BASE_MONOTONIC_TIME_H_
#define COMM_BASE_MONOTONIC_TIME_H_

#include <cstdint>

#include "absl/time/time.h"

namespace moe {

// Time of this host since some moment in the past, by a clock that nobody sets.
// Every duration in these programs is a difference of two of these. absl::Now,
// which an administrator or NTP may set forth and back, is for what a person
// reads; house_test holds that.
absl::Duration MonotonicTime();
// The same in nanoseconds.
int64_t ClockNanos();

}  // namespace moe

#endif  // COMM_BASE_MONOTONIC_TIME_H_
