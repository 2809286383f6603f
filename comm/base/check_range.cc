#include "comm/base/check_range.h"

#include "absl/strings/str_cat.h"

namespace moe {

absl::Status CheckInteger(absl::string_view key, int64_t value, int64_t low,
                          int64_t high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(key, " is ", value, ", must be from ", low, " to ", high));
}

absl::Status CheckUpTo(absl::string_view key, int64_t value, int64_t low,
                       absl::string_view bound, int64_t high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(key, " is ", value,
                                                 ", must be from ", low, " to ",
                                                 bound, " (", high, ")"));
}

}  // namespace moe
