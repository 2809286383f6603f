#include "launch/command/presets.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "trainer/config/nearest_name.h"

namespace moe {

absl::string_view Preset::summary() const {
  absl::string_view line = text.substr(0, text.find('\n'));
  absl::ConsumePrefix(&line, "# ");
  return line;
}

absl::StatusOr<Preset> FindPreset(absl::string_view name) {
  std::vector<std::string> names;
  for (const Preset& preset : Presets()) {
    if (preset.name == name) return preset;
    names.emplace_back(preset.name);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("there is no preset '", name, "'; did you mean '",
                   NearestName(name, names), "'?"));
}

}  // namespace moe
