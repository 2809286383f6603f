#ifndef TRAINER_CONFIG_SOME_OF_H_
#define TRAINER_CONFIG_SOME_OF_H_

#include <cstddef>
#include <string>

#include "absl/types/span.h"

namespace moe {

// The first names of a list that may be long: "a, b and 7 more" of nine, where
// 2 are shown.
std::string SomeOf(absl::Span<const std::string> names, size_t shown);

}  // namespace moe

#endif  // TRAINER_CONFIG_SOME_OF_H_
