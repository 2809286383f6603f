#ifndef COMM_BASE_RUNNING_TIME_H_
#define COMM_BASE_RUNNING_TIME_H_

#include <algorithm>

#include "absl/time/time.h"
#include "comm/base/monotonic_time.h"

namespace moe {

// Measures time as far as this process runs, for limits that a job which was
// suspended as a whole must not exceed.
class RunningTime {
 public:
  // Since the last call, or the construction; call it every second or so.
  absl::Duration Take() {
    const absl::Duration now = MonotonicTime();
    const absl::Duration passed = now - taken_at_;
    taken_at_ = now;
    return std::min(passed, kLongest);
  }

 private:
  // More has passed while the process was suspended.
  static constexpr absl::Duration kLongest = absl::Seconds(2);

  absl::Duration taken_at_ = MonotonicTime();
};

}  // namespace moe

#endif  // COMM_BASE_RUNNING_TIME_H_
