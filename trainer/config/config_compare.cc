#include "trainer/config/config_compare.h"

#include <google/protobuf/text_format.h>

#include <algorithm>
#include <iterator>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "data/blend_order.h"
#include "trainer/config/config_resolve.h"
#include "trainer/config/config_text.h"

namespace moe {
namespace {

using ::google::protobuf::FieldDescriptor;
using ::google::protobuf::Message;
using ::google::protobuf::TextFormat;

// What state and position depend on, beside model.* and data.*; without the
// same routing weights the experts' outputs have another size.
constexpr absl::string_view kFixedKeys[] = {"run.seed", "batch.sequence_length",
                                            "router.renormalize"};
// Of those two sections, what may change all the same.
constexpr absl::string_view kFreeKeys[] = {"model.max_position_embeddings",
                                           "model.initializer_range"};
// Where a run is, not what it is.
constexpr absl::string_view kIgnoredKeys[] = {"run.directory", "run.threads",
                                              "run.check_memory"};

bool IsAmong(absl::string_view key, const auto& keys) {
  return std::find(std::begin(keys), std::end(keys), key) != std::end(keys);
}

// Before schedule.tokens was kept, a run in tokens was stored in the steps that
// it took with its batch of then: such a run is still the same.
TrainConfig WithTokens(const TrainConfig& before, const TrainConfig& now) {
  if (before.schedule().steps() == 0 || now.schedule().tokens() == 0 ||
      before.batch().global_size() < 1 || before.batch().sequence_length() < 1)
    return before;
  TrainConfig asked = before;
  asked.mutable_schedule()->set_steps(0);
  asked.mutable_schedule()->set_tokens(now.schedule().tokens());
  return StepsOf(asked) == before.schedule().steps() ? asked : before;
}

// In the place of the weights what they give each source of all samples: 1 and
// 1 make the same order as 0.5 and 0.5.
void SetShares(DataBlend& blend) {
  std::vector<double> weights;
  for (const DataSource& source : blend.source())
    weights.push_back(source.weight());
  if (weights.empty()) return;
  const absl::StatusOr<BlendOrder> order = BlendOrder::Create(weights);
  if (!order.ok()) return;  // as it was typed, then
  for (int i = 0; i < blend.source_size(); ++i)
    blend.mutable_source(i)->set_weight(order->ShareOf(i));
}

// What is left of a configuration when all that says the same in other words,
// or means nothing, is written in one way. Where the content of the data is
// known, their names mean nothing.
TrainConfig AsMeant(const TrainConfig& config, KnowData know) {
  TrainConfig meant = config;
  DataConfig& data = *meant.mutable_data();
  SetShares(*data.mutable_train());
  // In a blend of validation data weights mean nothing, and beside one the
  // share that is held out.
  for (DataSource& source : *data.mutable_valid()->mutable_source())
    source.clear_weight();
  if (data.valid().source_size() > 0) data.clear_valid_fraction();
  if (know == KnowData::kByName) return meant;
  for (DataBlend* blend : {data.mutable_train(), data.mutable_valid()})
    for (DataSource& source : *blend->mutable_source()) source.clear_path();
  data.clear_tokenizer();
  return meant;
}

}  // namespace

bool IsFixedByCheckpoint(absl::string_view key) {
  if (IsAmong(key, kFreeKeys)) return false;
  return IsAmong(key, kFixedKeys) || absl::StartsWith(key, "model.") ||
         absl::StartsWith(key, "data.");
}

std::string ConfigValueText(const Message& section,
                            const FieldDescriptor& field) {
  TextFormat::Printer printer;
  printer.SetSingleLineMode(true);
  std::string text;
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
    printer.PrintToString(section.GetReflection()->GetMessage(section, &field),
                          &text);
    return absl::StrCat("{ ", text, "}");
  }
  printer.PrintFieldValueToString(section, &field, -1, &text);
  return text;
}

std::vector<ConfigDifference> CompareConfigs(const TrainConfig& before,
                                             const TrainConfig& now,
                                             KnowData data) {
  const TrainConfig a = WithDefaults(WithTokens(before, now));
  const TrainConfig b = WithDefaults(now);
  const TrainConfig meant_a = AsMeant(a, data);
  const TrainConfig meant_b = AsMeant(b, data);
  std::vector<ConfigDifference> differences;
  for (int i = 0; i < a.GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor& section = *a.GetDescriptor()->field(i);
    const Message& section_a = a.GetReflection()->GetMessage(a, &section);
    const Message& section_b = b.GetReflection()->GetMessage(b, &section);
    for (int j = 0; j < section.message_type()->field_count(); ++j) {
      const FieldDescriptor& field = *section.message_type()->field(j);
      const std::string key = absl::StrCat(section.name(), ".", field.name());
      const std::string value_a = ConfigValueText(section_a, field);
      const std::string value_b = ConfigValueText(section_b, field);
      if (value_a == value_b || IsAmong(key, kIgnoredKeys)) continue;
      const bool means_the_same = section.name() == "data" &&
                                  ConfigValueText(meant_a.data(), field) ==
                                      ConfigValueText(meant_b.data(), field);
      differences.push_back(
          {key, value_a, value_b, IsFixedByCheckpoint(key) && !means_the_same});
    }
  }
  return differences;
}

std::string DifferencesText(const std::vector<ConfigDifference>& differences) {
  return absl::StrJoin(
      differences, "; ", [](std::string* out, const ConfigDifference& d) {
        absl::StrAppend(out, d.key, " is ", d.now, ", was ", d.before);
      });
}

}  // namespace moe
