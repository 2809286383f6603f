#ifndef COMM_BASE_CHECK_RANGE_H_
#define COMM_BASE_CHECK_RANGE_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace moe {

// Limits of what a user typed. InvalidArgument names the key, its value and
// the limits.

// low <= value <= high.
absl::Status CheckInteger(absl::string_view key, int64_t value, int64_t low,
                          int64_t high);

// The same where other keys say what is the most: `bound` names them.
absl::Status CheckUpTo(absl::string_view key, int64_t value, int64_t low,
                       absl::string_view bound, int64_t high);

}  // namespace moe

#endif  // COMM_BASE_CHECK_RANGE_H_
