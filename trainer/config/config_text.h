#ifndef TRAINER_CONFIG_CONFIG_TEXT_H_
#define TRAINER_CONFIG_CONFIG_TEXT_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "trainer/config/train_config.pb.h"

namespace moe {

// A configuration from Protobuf text format. InvalidArgument shows where,
// "run.textproto:3:5: ...", and for an unknown field or value what is known.
// `file` is for messages.
absl::StatusOr<TrainConfig> ParseConfig(absl::string_view text,
                                        absl::string_view file);

// One that a checkpoint holds, perhaps of a newer version of this program. What
// this one has no field for is passed over and named in `unknown` by its key,
// "log.color", up to a dozen of them.
absl::StatusOr<TrainConfig> ParseStoredConfig(
    absl::string_view text, absl::string_view file,
    std::vector<std::string>& unknown);

// The same configuration with every value set, defaults included, but for
// empty blends.
TrainConfig WithDefaults(const TrainConfig& config);

// Every value of the configuration as text that ParseConfig takes back.
std::string PrintConfig(const TrainConfig& config);

}  // namespace moe

#endif  // TRAINER_CONFIG_CONFIG_TEXT_H_
