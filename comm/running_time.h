#ifndef COMM_RUNNING_TIME_H_
#define COMM_RUNNING_TIME_H_

#include <algorithm>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace moe {

// Measures time as far as this process runs, for limits that a job which was
// suspended as a whole must not exceed.
class RunningTime {
 public:
  // Since the last call, or the construction; call it every second or so.
  absl::Duration Take() {
    const absl::Time now = absl::Now();
    const absl::Duration passed = now - taken_at_;
    taken_at_ = now;
    return std::clamp(passed, absl::ZeroDuration(), kLongest);
  }

 private:
  // More has passed while the process was suspended, or the machine's clock was
  // set.
  static constexpr absl::Duration kLongest = absl::Seconds(2);

  absl::Time taken_at_ = absl::Now();
};

}  // namespace moe

#endif  // COMM_RUNNING_TIME_H_
