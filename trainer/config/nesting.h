#ifndef TRAINER_CONFIG_NESTING_H_
#define TRAINER_CONFIG_NESTING_H_

#include "absl/strings/string_view.h"

namespace moe {

// How deep messages and lists lie in each other in Protobuf text. Its parser
// calls itself for each of them where it passes over fields that it does not
// know, and has no limit there: look at a hostile text first.
int NestingDepth(absl::string_view text);

// More than any text of ours has.
inline constexpr int kMaxNestingDepth = 32;

}  // namespace moe

#endif  // TRAINER_CONFIG_NESTING_H_
