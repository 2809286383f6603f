#ifndef TRAINER_CONFIG_UNITS_H_
#define TRAINER_CONFIG_UNITS_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace moe {

// Numbers as people read them.

// "46,702,792,704"; of a noun "1 token", "4,096 tokens".
std::string WithCommas(int64_t number);
std::string WithCommas(int64_t number, absl::string_view noun);

// "1.50 GiB", "640 B": binary multiples, three digits.
std::string FormatBytes(int64_t bytes);

// "81.3 GFLOP", "0.00 FLOP": decimal multiples, three digits.
std::string FormatDecimal(double number, absl::string_view unit);

}  // namespace moe

#endif  // TRAINER_CONFIG_UNITS_H_
