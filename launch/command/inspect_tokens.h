#ifndef LAUNCH_COMMAND_INSPECT_TOKENS_H_
#define LAUNCH_COMMAND_INSPECT_TOKENS_H_

#include <string>

#include "absl/status/statusor.h"

namespace moe {

// What a .bin/.idx pair holds, as lines of text: counts, lengths of documents,
// and the beginnings of the first ones, as ids, or as text if the path of a
// tokenizer is given.
absl::StatusOr<std::string> InspectTokens(const std::string& prefix,
                                          const std::string& tokenizer_path);

}  // namespace moe

#endif  // LAUNCH_COMMAND_INSPECT_TOKENS_H_
