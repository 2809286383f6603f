#include "comm/base/monotonic_time.h"

#include <ctime>

namespace moe {

absl::Duration MonotonicTime() { return absl::Nanoseconds(ClockNanos()); }

int64_t ClockNanos() {
  timespec time = {};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

}  // namespace moe
