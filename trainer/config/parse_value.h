#ifndef TRAINER_CONFIG_PARSE_VALUE_H_
#define TRAINER_CONFIG_PARSE_VALUE_H_

#include <cstdint>
#include <limits>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace moe {

// Values that a user typed, whole: nothing but the value may stand in `text`.
// Errors are InvalidArgument and name `key`, the text and what is accepted:
// "schedule.steps is 'abc', must be an integer".

// From low to high.
absl::StatusOr<int64_t> ParseInteger(
    absl::string_view key, absl::string_view text,
    int64_t low = std::numeric_limits<int64_t>::min(),
    int64_t high = std::numeric_limits<int64_t>::max());

absl::StatusOr<uint64_t> ParseUnsigned(absl::string_view key,
                                       absl::string_view text);

// Neither infinite nor NaN.
absl::StatusOr<double> ParseNumber(absl::string_view key,
                                   absl::string_view text);

// "true" or "false".
absl::StatusOr<bool> ParseBool(absl::string_view key, absl::string_view text);

}  // namespace moe

#endif  // TRAINER_CONFIG_PARSE_VALUE_H_
