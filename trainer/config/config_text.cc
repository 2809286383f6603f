#include "trainer/config/config_text.h"

#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/text_format.h>

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "comm/base/check.h"
#include "trainer/config/config_keys.h"
#include "trainer/config/foreign_keys.h"
#include "trainer/config/nearest_name.h"
#include "trainer/config/nesting.h"

namespace moe {
namespace {

using ::google::protobuf::Descriptor;
using ::google::protobuf::FieldDescriptor;
using ::google::protobuf::Message;
using ::google::protobuf::Reflection;
using ::google::protobuf::TextFormat;

// The words that Protobuf puts between double quotes.
std::vector<std::string> QuotedWords(absl::string_view message) {
  const std::vector<std::string> pieces = absl::StrSplit(message, '"');
  std::vector<std::string> words;
  for (size_t i = 1; i + 1 < pieces.size(); i += 2) words.push_back(pieces[i]);
  return words;
}

// Whether the words of the message are "moe.LogConfig" and "color", which that
// type does not have.
bool IsOfUnknownField(absl::string_view message,
                      const std::vector<std::string>& words) {
  return words.size() == 2 && absl::StrContains(message, "has no field named");
}

// The enumeration of the first field of this name, in any section.
const google::protobuf::EnumDescriptor* FindEnum(absl::string_view field_name) {
  const Descriptor& config = *TrainConfig::descriptor();
  for (int i = 0; i < config.field_count(); ++i) {
    const FieldDescriptor* field =
        config.field(i)->message_type()->FindFieldByName(
            std::string(field_name));
    if (field != nullptr && field->enum_type() != nullptr)
      return field->enum_type();
  }
  return nullptr;
}

// Whether the fields of `type` are sections or keys.
bool HasKeys(const Descriptor& type) {
  const Descriptor& config = *TrainConfig::descriptor();
  if (&type == &config) return true;
  for (int i = 0; i < config.field_count(); ++i)
    if (config.field(i)->message_type() == &type) return true;
  return false;
}

// What `word`, no field of `type`, most likely means: one of its fields, or
// "section.key" of another section.
std::string NearestField(const Descriptor& type, const std::string& word) {
  const ForeignKey* foreign = HasKeys(type) ? FindForeignKey(word) : nullptr;
  if (foreign == nullptr) return NearestName(word, FieldNames(type));
  const std::string key(foreign->ours);
  const size_t dot = key.find('.');
  const FieldDescriptor* section =
      TrainConfig::descriptor()->FindFieldByName(key.substr(0, dot));
  return section->message_type() == &type ? key.substr(dot + 1) : key;
}

// Protobuf's message, and after it what would have been right. Its texts are
// not a promise: one that we do not know is left as it is.
std::string Explain(absl::string_view message) {
  const std::vector<std::string> words = QuotedWords(message);
  if (IsOfUnknownField(message, words)) {
    const Descriptor* type = google::protobuf::DescriptorPool::generated_pool()
                                 ->FindMessageTypeByName(words[0]);
    if (type != nullptr) {
      return absl::StrCat("there is no field '", words[1], "' in ",
                          type->name(), "; did you mean '",
                          NearestField(*type, words[1]), "'?");
    }
  }
  if (words.size() == 2 && absl::StrContains(message, "enumeration value")) {
    const google::protobuf::EnumDescriptor* type = FindEnum(words[1]);
    if (type != nullptr) {
      return absl::StrCat(words[1], " is '", words[0], "', must be one of ",
                          ValueNames(*type));
    }
  }
  return std::string(message);
}

// Where messages of type `name` lie below `type`: "log." in TrainConfig, "" if
// it is `type` itself; nullopt: nowhere.
std::optional<std::string> PathOf(absl::string_view name,
                                  const Descriptor& type) {
  if (type.full_name() == name) return "";
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    if (field.message_type() == nullptr) continue;
    const std::optional<std::string> path = PathOf(name, *field.message_type());
    if (path.has_value()) return absl::StrCat(field.name(), ".", *path);
  }
  return std::nullopt;
}

// Keeps the first error, with its place, and the keys of unknown fields.
class FirstError : public google::protobuf::io::ErrorCollector {
 public:
  explicit FirstError(absl::string_view file) : file_(file) {}

  // Lines and columns count from 0; -1 is no place.
  void AddError(int line, google::protobuf::io::ColumnNumber column,
                const std::string& message) override {
    if (!text_.empty()) return;
    text_ = absl::StrCat(file_, ":");
    if (line >= 0) absl::StrAppend(&text_, line + 1, ":", column + 1, ":");
    absl::StrAppend(&text_, " ", Explain(message));
  }

  // Of a field that is passed over.
  void AddWarning(int, google::protobuf::io::ColumnNumber,
                  const std::string& message) override {
    const std::vector<std::string> words = QuotedWords(message);
    if (!IsOfUnknownField(message, words)) return;
    const std::string key = absl::StrCat(
        PathOf(words[0], *TrainConfig::descriptor()).value_or(""), words[1]);
    if (seen_.insert(key).second) unknown_.push_back(key);
  }

  const std::string& text() const { return text_; }
  const std::vector<std::string>& unknown() const { return unknown_; }

 private:
  std::string file_;
  std::string text_;
  std::vector<std::string> unknown_;  // each once, in the order of the text
  std::set<std::string> seen_;
};

// Sets a field to what reading it gives.
void SetToItself(Message& section, const FieldDescriptor& field) {
  const Reflection& reflection = *section.GetReflection();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return reflection.SetInt32(&section, &field,
                                 reflection.GetInt32(section, &field));
    case FieldDescriptor::CPPTYPE_INT64:
      return reflection.SetInt64(&section, &field,
                                 reflection.GetInt64(section, &field));
    case FieldDescriptor::CPPTYPE_UINT64:
      return reflection.SetUInt64(&section, &field,
                                  reflection.GetUInt64(section, &field));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return reflection.SetDouble(&section, &field,
                                  reflection.GetDouble(section, &field));
    case FieldDescriptor::CPPTYPE_BOOL:
      return reflection.SetBool(&section, &field,
                                reflection.GetBool(section, &field));
    case FieldDescriptor::CPPTYPE_STRING:
      return reflection.SetString(&section, &field,
                                  reflection.GetString(section, &field));
    case FieldDescriptor::CPPTYPE_ENUM:
      return reflection.SetEnum(&section, &field,
                                reflection.GetEnum(section, &field));
    default:
      CHECK(false);  // The configuration has no field of another type.
  }
}

// A blend of no sources is the same as none.
void ClearIfEmpty(const Reflection& reflection, Message& message,
                  const FieldDescriptor& field) {
  if (reflection.GetMessage(message, &field).ByteSizeLong() == 0)
    reflection.ClearField(&message, &field);
}

void FillDefaults(Message& message);

void FillField(Message& message, const FieldDescriptor& field) {
  const Reflection& reflection = *message.GetReflection();
  if (field.cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) {
    SetToItself(message, field);
  } else if (field.is_repeated()) {
    for (int i = 0; i < reflection.FieldSize(message, &field); ++i)
      FillDefaults(*reflection.MutableRepeatedMessage(&message, &field, i));
  } else {
    FillDefaults(*reflection.MutableMessage(&message, &field));
    ClearIfEmpty(reflection, message, field);
  }
}

void FillDefaults(Message& message) {
  const Descriptor& type = *message.GetDescriptor();
  for (int i = 0; i < type.field_count(); ++i)
    FillField(message, *type.field(i));
}

}  // namespace

absl::StatusOr<TrainConfig> ParseConfig(absl::string_view text,
                                        absl::string_view file) {
  FirstError error(file);
  TextFormat::Parser parser;
  parser.RecordErrorsTo(&error);
  TrainConfig config;
  if (parser.ParseFromString(std::string(text), &config)) return config;
  return absl::InvalidArgumentError(error.text());
}

absl::StatusOr<TrainConfig> ParseStoredConfig(
    absl::string_view text, absl::string_view file,
    std::vector<std::string>& unknown) {
  if (NestingDepth(text) > kMaxNestingDepth) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, ": messages lie in each other more than ",
                     kMaxNestingDepth, " deep"));
  }
  FirstError error(file);
  TextFormat::Parser parser;
  parser.RecordErrorsTo(&error);
  parser.AllowUnknownField(true);
  TrainConfig config;
  if (!parser.ParseFromString(std::string(text), &config))
    return absl::InvalidArgumentError(error.text());
  unknown = error.unknown();
  return config;
}

TrainConfig WithDefaults(const TrainConfig& config) {
  TrainConfig filled = config;
  FillDefaults(filled);
  return filled;
}

std::string PrintConfig(const TrainConfig& config) {
  std::string text;
  CHECK(TextFormat::PrintToString(WithDefaults(config), &text));
  return text;
}

}  // namespace moe
