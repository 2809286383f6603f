#ifndef TRAINER_CONFIG_STEP_RANGE_H_
#define TRAINER_CONFIG_STEP_RANGE_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace moe {

// The steps of log.trace_steps: "A:B", both included.
struct StepRange {
  int64_t first = 0;
  int64_t last = -1;
  bool contains(int64_t step) const { return first <= step && step <= last; }
};
// InvalidArgument: not two steps from 1 on in order. Empty: no step.
absl::StatusOr<StepRange> ParseStepRange(const std::string& text);

}  // namespace moe

#endif  // TRAINER_CONFIG_STEP_RANGE_H_
