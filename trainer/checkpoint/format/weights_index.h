#ifndef TRAINER_CHECKPOINT_FORMAT_WEIGHTS_INDEX_H_
#define TRAINER_CHECKPOINT_FORMAT_WEIGHTS_INDEX_H_

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace moe {

// The weight_map of a model.safetensors.index.json: file name by tensor name.
// DataLoss: no JSON, no weight_map, a name twice, or a file name that leads
// out of the directory.
absl::StatusOr<std::map<std::string, std::string>> ParseWeightsIndex(
    absl::string_view json);

// The text of such a file for tensors of `total_bytes` in all.
std::string WeightsIndexText(
    int64_t total_bytes, const std::map<std::string, std::string>& weight_map);

}  // namespace moe

#endif  // TRAINER_CHECKPOINT_FORMAT_WEIGHTS_INDEX_H_
