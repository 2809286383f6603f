#include "trainer/config/key_changes.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "comm/base/check.h"
#include "trainer/config/config_compare.h"

namespace moe {
namespace {

using ::google::protobuf::FieldDescriptor;
using ::google::protobuf::Message;

// A section of a configuration, and one of its fields.
struct Place {
  const FieldDescriptor* section;
  const FieldDescriptor* field;
};

Place Find(absl::string_view key) {
  const std::vector<std::string> names = absl::StrSplit(key, '.');
  CHECK(names.size() == 2);
  const FieldDescriptor* section =
      TrainConfig::descriptor()->FindFieldByName(names[0]);
  CHECK(section != nullptr);
  const FieldDescriptor* field =
      section->message_type()->FindFieldByName(names[1]);
  CHECK(field != nullptr);
  return {section, field};
}

const Message& SectionOf(const TrainConfig& config, const Place& place) {
  return config.GetReflection()->GetMessage(config, place.section);
}

std::string Text(const TrainConfig& config, absl::string_view key) {
  const Place place = Find(key);
  return ConfigValueText(SectionOf(config, place), *place.field);
}

}  // namespace

bool HasKey(const TrainConfig& config, absl::string_view key) {
  const Place place = Find(key);
  const Message& section = SectionOf(config, place);
  return section.GetReflection()->HasField(section, place.field);
}

void KeyChanges::Remember(absl::string_view key,
                          const std::vector<Reason>& reasons) {
  auto at =
      std::find_if(changed_.begin(), changed_.end(),
                   [&](const Changed& changed) { return changed.key == key; });
  if (at == changed_.end())
    at = changed_.insert(at, Changed{.key = std::string(key), .reasons = {}});
  for (const Reason& reason : reasons)
    if (std::find(at->reasons.begin(), at->reasons.end(), reason) ==
        at->reasons.end())
      at->reasons.push_back(reason);
}

std::string KeyChanges::ReasonText(const Reason& reason) const {
  return reason.key.empty()
             ? reason.fact
             : absl::StrCat(reason.key, " is ", Text(config_, reason.key));
}

std::vector<std::string> KeyChanges::Notes() const {
  std::vector<std::string> notes;
  for (const Changed& changed : changed_) {
    const std::string was = Text(before_, changed.key);
    const std::string is = Text(config_, changed.key);
    if (is == was) continue;
    notes.push_back(absl::StrCat(
        changed.key, " is ", is, ", not the ",
        HasKey(layers_.preset, changed.key) ? "preset's " : "default ", was,
        ": ",
        absl::StrJoin(changed.reasons, " and ",
                      [&](std::string* out, const Reason& reason) {
                        absl::StrAppend(out, ReasonText(reason));
                      })));
  }
  return notes;
}

}  // namespace moe
