#include "trainer/config/parse_value.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace moe {
namespace {

absl::Status Refuse(absl::string_view key, absl::string_view text,
                    absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat(key, " is '", text, "', must be ", what));
}

// Digits with or without a sign, however many.
bool LooksLikeInteger(absl::string_view text) {
  if (!absl::ConsumePrefix(&text, "-")) absl::ConsumePrefix(&text, "+");
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_isdigit(static_cast<unsigned char>(c));
  });
}

}  // namespace

absl::StatusOr<int64_t> ParseInteger(absl::string_view key,
                                     absl::string_view text, int64_t low,
                                     int64_t high) {
  if (!LooksLikeInteger(text)) return Refuse(key, text, "an integer");
  int64_t value = 0;
  if (!absl::SimpleAtoi(text, &value) || value < low || value > high)
    return Refuse(key, text, absl::StrCat("from ", low, " to ", high));
  return value;
}

absl::StatusOr<uint64_t> ParseUnsigned(absl::string_view key,
                                       absl::string_view text) {
  if (!LooksLikeInteger(text)) return Refuse(key, text, "an integer");
  uint64_t value = 0;
  if (!absl::SimpleAtoi(text, &value)) {
    return Refuse(
        key, text,
        absl::StrCat("from 0 to ", std::numeric_limits<uint64_t>::max()));
  }
  return value;
}

absl::StatusOr<double> ParseNumber(absl::string_view key,
                                   absl::string_view text) {
  double value = 0;
  if (!absl::SimpleAtod(text, &value)) return Refuse(key, text, "a number");
  if (!std::isfinite(value)) return Refuse(key, text, "a finite number");
  return value;
}

absl::StatusOr<bool> ParseBool(absl::string_view key, absl::string_view text) {
  if (text == "true") return true;
  if (text == "false") return false;
  return Refuse(key, text, "true or false");
}

}  // namespace moe
