#include "trainer/config_keys.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "trainer/nearest_name.h"

namespace moe {
namespace {

absl::string_view AfterDot(absl::string_view key) {
  const size_t dot = key.find('.');
  return dot == absl::string_view::npos ? key : key.substr(dot + 1);
}

}  // namespace

std::vector<std::string> FieldNames(const google::protobuf::Descriptor& type) {
  std::vector<std::string> names;
  for (int i = 0; i < type.field_count(); ++i)
    names.push_back(type.field(i)->name());
  return names;
}

std::string ValueNames(const google::protobuf::EnumDescriptor& type) {
  std::string names;
  for (int i = 0; i < type.value_count(); ++i)
    absl::StrAppend(&names, i == 0 ? "" : ", ", type.value(i)->name());
  return names;
}

std::vector<std::string> ConfigKeys() {
  const google::protobuf::Descriptor& config = *TrainConfig::descriptor();
  std::vector<std::string> keys;
  for (int i = 0; i < config.field_count(); ++i) {
    const google::protobuf::FieldDescriptor& section = *config.field(i);
    for (const std::string& key : FieldNames(*section.message_type()))
      keys.push_back(absl::StrCat(section.name(), ".", key));
  }
  return keys;
}

std::string NearestConfigKey(absl::string_view typed) {
  // A wrong section costs as much as two wrong letters, so that
  // "optimizer.steps" finds "schedule.steps".
  constexpr int kWrongSection = 2;
  typed = typed.substr(0, kMostCompared);
  std::string nearest;
  std::pair<int, int> least;
  for (const std::string& key : ConfigKeys()) {
    const int whole = EditDistance(typed, key);
    const int end = EditDistance(AfterDot(typed), AfterDot(key));
    const std::pair<int, int> distance(std::min(whole, kWrongSection + end),
                                       whole);
    if (!nearest.empty() && distance >= least) continue;
    nearest = key;
    least = distance;
  }
  return nearest;
}

}  // namespace moe
