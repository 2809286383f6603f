#ifndef TRAINER_UNITS_H_
#define TRAINER_UNITS_H_

#include <cstdint>
#include <string>

namespace moe {

// Numbers as people read them.

// "46,702,792,704".
std::string WithCommas(int64_t number);

// "1.50 GiB", "640 B": binary multiples, three digits.
std::string FormatBytes(int64_t bytes);

// "81.3 G": decimal multiples, three digits; a unit may follow.
std::string FormatDecimal(double number);

}  // namespace moe

#endif  // TRAINER_UNITS_H_
