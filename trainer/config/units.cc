#include "trainer/config/units.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace moe {
namespace {

// Three digits of a number below 1024: "1.50", "15.0", "150".
std::string ThreeDigits(double number) {
  const int decimals = number < 9.995 ? 2 : number < 99.95 ? 1 : 0;
  return absl::StrFormat("%.*f", decimals, number);
}

}  // namespace

std::string WithCommas(int64_t number) {
  const std::string digits = absl::StrCat(number);
  std::string text;
  for (size_t i = 0; i < digits.size(); ++i) {
    const bool after_digit = i > 0 && digits[i - 1] != '-';
    if (after_digit && (digits.size() - i) % 3 == 0) text += ',';
    text += digits[i];
  }
  return text;
}

std::string WithCommas(int64_t number, absl::string_view noun) {
  return absl::StrCat(WithCommas(number), " ", noun, number == 1 ? "" : "s");
}

std::string FormatBytes(int64_t bytes) {
  if (bytes < 1024) return absl::StrCat(bytes, " B");
  const char* units = "KMGTPE";
  double number = static_cast<double>(bytes) / 1024;
  for (; number >= 1023.5 && units[1] != '\0'; ++units) number /= 1024;
  return absl::StrFormat("%s %ciB", ThreeDigits(number), *units);
}

std::string FormatDecimal(double number, absl::string_view unit) {
  if (number < 999.5) return absl::StrCat(ThreeDigits(number), " ", unit);
  const char* multiples = "kMGTPEZY";
  number /= 1000;
  for (; number >= 999.5 && multiples[1] != '\0'; ++multiples) number /= 1000;
  return absl::StrFormat("%s %c%s", ThreeDigits(number), *multiples, unit);
}

}  // namespace moe
