#ifndef TRAINER_CONFIG_NEAREST_NAME_H_
#define TRAINER_CONFIG_NEAREST_NAME_H_

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace moe {

// Fewest insertions, deletions and replacements of a character, and swaps of
// two adjacent ones, that turn a into b (Damerau, "A technique for computer
// detection and correction of spelling errors", 1964).
int EditDistance(absl::string_view a, absl::string_view b);

// Of a typed word only the beginning is compared with names, which are all
// shorter: comparing takes time as the product of the lengths, and a word that
// was pasted may have megabytes.
inline constexpr size_t kMostCompared = 64;

// The name most like `typed`, the first of equals; empty only without names.
std::string NearestName(absl::string_view typed,
                        absl::Span<const std::string> names);

}  // namespace moe

#endif  // TRAINER_CONFIG_NEAREST_NAME_H_
