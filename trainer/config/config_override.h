#ifndef TRAINER_CONFIG_CONFIG_OVERRIDE_H_
#define TRAINER_CONFIG_CONFIG_OVERRIDE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "trainer/config/train_config.pb.h"

namespace moe {

// Sets single values from words "section.key=value", in order, so that the
// last one of a key wins. Names of enumerations may be typed in any case.
// InvalidArgument names the key, the value and what is accepted; for an unknown
// key, the nearest known one.
absl::Status ApplyOverrides(TrainConfig& config,
                            absl::Span<const std::string> words);

// A blend as it is typed: "a.txt", or "0.7:a.txt,0.3:share:kjv.txt". What
// stands before a path's first colon is its weight if it is a number, else a
// part of the path. A comma in a path is typed as "\,". Empty text is a blend
// without sources. `key` is for messages.
absl::StatusOr<DataBlend> ParseBlend(absl::string_view key,
                                     absl::string_view text);

}  // namespace moe

#endif  // TRAINER_CONFIG_CONFIG_OVERRIDE_H_
