#include "trainer/config/step_range.h"

#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace moe {

absl::StatusOr<StepRange> ParseStepRange(const std::string& text) {
  if (text.empty()) return StepRange();
  const std::vector<std::string> parts = absl::StrSplit(text, ':');
  StepRange range;
  if (parts.size() == 2 && absl::SimpleAtoi(parts[0], &range.first) &&
      absl::SimpleAtoi(parts[1], &range.last) && range.first >= 1 &&
      range.last >= range.first)
    return range;
  return absl::InvalidArgumentError(
      absl::StrCat("log.trace_steps is '", text,
                   "', must be FIRST:LAST, two steps from 1 on, or empty"));
}

}  // namespace moe
