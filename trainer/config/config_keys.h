#ifndef TRAINER_CONFIG_CONFIG_KEYS_H_
#define TRAINER_CONFIG_CONFIG_KEYS_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "trainer/config/train_config.pb.h"

namespace moe {

// What names TrainConfig knows, for messages.

// Names of a message's fields, in the order of its file.
std::vector<std::string> FieldNames(const google::protobuf::Descriptor& type);

// "CONSTANT, LINEAR, COSINE, WSD".
std::string ValueNames(const google::protobuf::EnumDescriptor& type);

// Every "section.key".
std::vector<std::string> ConfigKeys();

// The "section.key" that `typed` most likely means: what other trainers call so
// ("optimizer.lr", "grad_clip"), nearly the same letters, nearly the same key
// in another section or in none, or an abbreviation ("model.layers",
// "seq_len"). Empty if none is like it.
std::string NearestConfigKey(absl::string_view typed);

}  // namespace moe

#endif  // TRAINER_CONFIG_CONFIG_KEYS_H_
