#ifndef COMM_BASE_COUNTED_H_
#define COMM_BASE_COUNTED_H_

#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace moe {

// "1 document", "2 documents"; for nouns whose plural ends in s.
inline std::string Counted(int64_t number, absl::string_view noun) {
  return absl::StrCat(number, " ", noun, number == 1 ? "" : "s");
}

}  // namespace moe

#endif  // COMM_BASE_COUNTED_H_
