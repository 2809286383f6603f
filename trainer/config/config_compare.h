#ifndef TRAINER_CONFIG_CONFIG_COMPARE_H_
#define TRAINER_CONFIG_CONFIG_COMPARE_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "google/protobuf/message.h"
#include "trainer/config/train_config.pb.h"

namespace moe {

// A key that has another value than a checkpoint's run had.
struct ConfigDifference {
  std::string key;  // "batch.global_size"
  std::string before;
  std::string now;
  // The checkpoint's state would mean something else with it: the model's
  // shape, the data and their order, the length of a sequence.
  bool contradicts = false;
};

// How data are known again.
enum class KnowData {
  kByName,     // another path contradicts
  kByContent,  // another path is a change: what lies there is compared
               // elsewhere
};

// In the order of the keys, defaults filled in; paths of the run and of logs
// are no difference. Weights of data.train that give each source the same share
// are a change that contradicts nothing.
std::vector<ConfigDifference> CompareConfigs(const TrainConfig& before,
                                             const TrainConfig& now,
                                             KnowData data);

// Whether a run may give this key another value than its checkpoint has.
bool IsFixedByCheckpoint(absl::string_view key);

// A field's value, or its default, on one line.
std::string ConfigValueText(const google::protobuf::Message& section,
                            const google::protobuf::FieldDescriptor& field);

// "batch.global_size: 32, was 16; ..."
std::string DifferencesText(const std::vector<ConfigDifference>& differences);

}  // namespace moe

#endif  // TRAINER_CONFIG_CONFIG_COMPARE_H_
