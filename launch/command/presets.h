#ifndef LAUNCH_COMMAND_PRESETS_H_
#define LAUNCH_COMMAND_PRESETS_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace moe {

// A configuration of launch/presets/, compiled in.
struct Preset {
  absl::string_view name;
  absl::string_view text;  // as --config takes it; opens with a comment

  // The first line of the comment.
  absl::string_view summary() const;
};

// In the order in which they are shown.
absl::Span<const Preset> Presets();

// InvalidArgument names the nearest one.
absl::StatusOr<Preset> FindPreset(absl::string_view name);

}  // namespace moe

#endif  // LAUNCH_COMMAND_PRESETS_H_
