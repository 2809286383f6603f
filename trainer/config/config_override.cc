#include "trainer/config/config_override.h"

#include <cmath>
#include <cstdint>
#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "comm/base/check.h"
#include "comm/base/status_macros.h"
#include "trainer/config/config_keys.h"
#include "trainer/config/parse_value.h"

namespace moe {
namespace {

using ::google::protobuf::EnumValueDescriptor;
using ::google::protobuf::FieldDescriptor;
using ::google::protobuf::Message;
using ::google::protobuf::Reflection;

// A value on its way into its field.
struct Assignment {
  Message& section;
  const FieldDescriptor& field;
  absl::string_view key;  // "section.key"
  absl::string_view text;
};

absl::Status SetEnum(const Assignment& to) {
  const std::string name = absl::AsciiStrToUpper(to.text);
  const EnumValueDescriptor* value =
      to.field.enum_type()->FindValueByName(name);
  if (value == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat(to.key, " is '", to.text, "', must be one of ",
                     ValueNames(*to.field.enum_type())));
  }
  to.section.GetReflection()->SetEnum(&to.section, &to.field, value);
  return absl::OkStatus();
}

absl::Status SetBlend(const Assignment& to) {
  CHECK(to.field.message_type() == DataBlend::descriptor());
  ASSIGN_OR_RETURN(const DataBlend blend, ParseBlend(to.key, to.text));
  to.section.GetReflection()
      ->MutableMessage(&to.section, &to.field)
      ->CopyFrom(blend);
  return absl::OkStatus();
}

absl::Status SetInt32(const Assignment& to) {
  using Limits = std::numeric_limits<int32_t>;
  ASSIGN_OR_RETURN(const int64_t value,
                   ParseInteger(to.key, to.text, Limits::min(), Limits::max()));
  to.section.GetReflection()->SetInt32(&to.section, &to.field,
                                       static_cast<int32_t>(value));
  return absl::OkStatus();
}

absl::Status Set(const Assignment& to) {
  const Reflection& reflection = *to.section.GetReflection();
  switch (to.field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return SetInt32(to);
    case FieldDescriptor::CPPTYPE_INT64: {
      ASSIGN_OR_RETURN(const int64_t value, ParseInteger(to.key, to.text));
      reflection.SetInt64(&to.section, &to.field, value);
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_UINT64: {
      ASSIGN_OR_RETURN(const uint64_t value, ParseUnsigned(to.key, to.text));
      reflection.SetUInt64(&to.section, &to.field, value);
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_DOUBLE: {
      ASSIGN_OR_RETURN(const double value, ParseNumber(to.key, to.text));
      reflection.SetDouble(&to.section, &to.field, value);
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_BOOL: {
      ASSIGN_OR_RETURN(const bool value, ParseBool(to.key, to.text));
      reflection.SetBool(&to.section, &to.field, value);
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_STRING:
      reflection.SetString(&to.section, &to.field, std::string(to.text));
      return absl::OkStatus();
    case FieldDescriptor::CPPTYPE_ENUM:
      return SetEnum(to);
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return SetBlend(to);
    default:
      return absl::InternalError(
          absl::StrCat(to.key, " has a type that no override can set"));
  }
}

absl::Status UnknownKey(absl::string_view key) {
  const std::string nearest = NearestConfigKey(key);
  return absl::InvalidArgumentError(absl::StrCat(
      "there is no configuration key '", key, "'; ",
      nearest.empty() ? "--print-config shows all"
                      : absl::StrCat("did you mean '", nearest, "'?")));
}

absl::Status ApplyOverride(TrainConfig& config, absl::string_view word) {
  const size_t equals = word.find('=');
  if (equals == absl::string_view::npos || equals == 0) {
    const std::string nearest = NearestConfigKey(word);
    return absl::InvalidArgumentError(absl::StrCat(
        "'", word, "' is not of the form section.key=value (as in '",
        nearest.empty() ? "schedule.steps" : nearest, "=...')"));
  }
  const absl::string_view key = word.substr(0, equals);
  const std::vector<std::string> names = absl::StrSplit(key, '.');
  if (names.size() != 2) return UnknownKey(key);
  const FieldDescriptor* section =
      TrainConfig::descriptor()->FindFieldByName(names[0]);
  if (section == nullptr) return UnknownKey(key);
  const FieldDescriptor* field =
      section->message_type()->FindFieldByName(names[1]);
  if (field == nullptr) return UnknownKey(key);
  return Set({*config.GetReflection()->MutableMessage(&config, section), *field,
              key, word.substr(equals + 1)});
}

// A comma divides, one behind a backslash is part of a name.
std::vector<std::string> SplitAtCommas(absl::string_view text) {
  std::vector<std::string> pieces(1);
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == ',') {
      pieces.emplace_back();
      continue;
    }
    if (text.substr(i, 2) == "\\,") ++i;
    pieces.back().push_back(text[i]);
  }
  return pieces;
}

// Takes "0.7:" off the front of `piece` if it is there.
double TakeWeight(absl::string_view& piece) {
  double weight = 1;
  const size_t colon = piece.find(':');
  if (colon == absl::string_view::npos ||
      !absl::SimpleAtod(piece.substr(0, colon), &weight)) {
    return 1;
  }
  piece.remove_prefix(colon + 1);
  return weight;
}

}  // namespace

absl::Status ApplyOverrides(TrainConfig& config,
                            absl::Span<const std::string> words) {
  for (const std::string& word : words)
    RETURN_IF_ERROR(ApplyOverride(config, word));
  return absl::OkStatus();
}

absl::StatusOr<DataBlend> ParseBlend(absl::string_view key,
                                     absl::string_view text) {
  DataBlend blend;
  if (text.empty()) return blend;
  for (const std::string& typed : SplitAtCommas(text)) {
    absl::string_view piece = typed;
    const double weight = TakeWeight(piece);
    if (!std::isfinite(weight) || weight <= 0) {
      return absl::InvalidArgumentError(
          absl::StrCat(key, " has the weight ", weight, " in '", typed,
                       "', must be greater than 0"));
    }
    if (piece.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(
          key, " is '", text, "', which names no file in '", typed,
          "'; must be a.txt, or 0.7:a.txt,0.3:b.txt (\\, is a comma "
          "in a name)"));
    }
    DataSource& source = *blend.add_source();
    source.set_path(std::string(piece));
    source.set_weight(weight);
  }
  return blend;
}

}  // namespace moe
