#include "trainer/config/config_keys.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "trainer/config/foreign_keys.h"
#include "trainer/config/nearest_name.h"

namespace moe {
namespace {

absl::string_view AfterDot(absl::string_view key) {
  const size_t dot = key.find('.');
  return dot == absl::string_view::npos ? key : key.substr(dot + 1);
}

std::vector<absl::string_view> Words(absl::string_view key) {
  return absl::StrSplit(key, absl::ByAnyChar("._-"), absl::SkipEmpty());
}

// How many words of `key` are left out where `typed` begins the others in their
// order ("seq_len", "model.layers") or is the first letters of those behind the
// dot ("lr").
std::optional<int> WordsLeftOut(absl::string_view typed,
                                absl::string_view key) {
  std::string initials;
  for (const absl::string_view word : Words(AfterDot(key)))
    initials.push_back(word[0]);
  if (initials.size() > 1 && typed == initials) return 0;
  const std::vector<absl::string_view> begun = Words(typed);
  const std::vector<absl::string_view> words = Words(key);
  size_t found = 0;
  for (const absl::string_view word : words)
    if (found < begun.size() && absl::StartsWith(word, begun[found])) ++found;
  if (begun.empty() || found < begun.size()) return std::nullopt;
  return static_cast<int>(words.size() - found);
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
  if (const ForeignKey* key = FindForeignKey(typed))
    return std::string(key->ours);
  const bool has_section = absl::StrContains(typed, '.');
  std::string nearest;
  // More than half of what was typed being wrong is no likeness.
  std::pair<int, int> least(static_cast<int>(typed.size() / 2) + 1, 0);
  for (const std::string& key : ConfigKeys()) {
    const int whole = EditDistance(typed, key);
    const int end = EditDistance(AfterDot(typed), AfterDot(key));
    std::pair<int, int> distance(std::min(whole, kWrongSection + end), whole);
    const std::optional<int> left_out = WordsLeftOut(typed, key);
    // With a section a word left out is as bad as a wrong letter: a key that is
    // spelled so in another section may be meant.
    if (left_out.has_value()) {
      distance = has_section ? std::min(distance, std::pair(*left_out, whole))
                             : std::pair(0, *left_out);
    }
    if (distance >= least) continue;
    nearest = key;
    least = distance;
  }
  return nearest;
}

}  // namespace moe
