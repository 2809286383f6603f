#ifndef TRAINER_CHECKPOINT_FORMAT_JSON_SETTINGS_H_
#define TRAINER_CHECKPOINT_FORMAT_JSON_SETTINGS_H_

#include <cstddef>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace moe {

inline constexpr size_t kMaxSettingElements = 257;

// A file of settings, one JSON object, as far down as settings lie: the values
// of its keys, the scalars of the objects among these, and the first
// kMaxSettingElements elements of the arrays. What is deeper stays away, an
// object or array there is empty: however deep a hostile file is, the tree is
// not, and functions that descend it end. Of a key that comes twice the last
// value counts, as in Python. DataLoss: no JSON, or no object.
absl::StatusOr<nlohmann::json> ParseJsonSettings(absl::string_view text);

}  // namespace moe

#endif  // TRAINER_CHECKPOINT_FORMAT_JSON_SETTINGS_H_
