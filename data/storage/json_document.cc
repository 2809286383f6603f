#include "data/storage/json_document.h"

#include <cstdint>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace moe {
namespace {

// Takes "text" of the outermost object and passes over everything else. Each
// function is one of nlohmann::json's events; false stops the reading.
class TextHandler final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit TextHandler(std::string& text) : text_(text) {}

  const std::string& problem() const { return problem_; }
  bool found() const { return found_; }

  bool null() override { return Value("null"); }
  bool boolean(bool) override { return Value("a boolean"); }
  bool number_integer(number_integer_t) override { return Value("a number"); }
  bool number_unsigned(number_unsigned_t) override { return Value("a number"); }
  bool number_float(number_float_t, const string_t&) override {
    return Value("a number");
  }
  bool binary(binary_t&) override { return Value("binary"); }

  bool string(string_t& value) override {
    if (!IsText()) return Value("a string");
    found_ = true;
    at_text_ = false;
    text_ = std::move(value);
    return true;
  }

  bool key(string_t& name) override {
    at_text_ = depth_ == 1 && name == "text";
    if (at_text_ && found_) return Stop("\"text\" is there twice");
    return true;
  }

  bool start_object(size_t) override {
    if (depth_ > 0 && !Value("an object")) return false;
    ++depth_;
    return true;
  }
  bool start_array(size_t) override {
    if (!Value("an array")) return false;
    ++depth_;
    return true;
  }
  bool end_object() override { return Leave(); }
  bool end_array() override { return Leave(); }

  bool parse_error(size_t position, const std::string& last_token,
                   const nlohmann::detail::exception&) override {
    return Stop(absl::StrCat("broken JSON at byte ", position, " of the line, ",
                             "after '", last_token.substr(0, 100), "'"));
  }

 private:
  bool IsText() const { return depth_ == 1 && at_text_; }

  // A value of another kind than the one that is looked for.
  bool Value(absl::string_view kind) {
    if (depth_ == 0) {
      return Stop(absl::StrCat("the line is ", kind, ", must be an object"));
    }
    if (IsText()) {
      return Stop(absl::StrCat("\"text\" is ", kind, ", must be a string"));
    }
    return true;
  }

  bool Leave() {
    --depth_;
    return true;
  }

  bool Stop(std::string problem) {
    problem_ = std::move(problem);
    return false;
  }

  std::string& text_;
  std::string problem_;
  int64_t depth_ = 0;
  bool at_text_ = false;  // the key just read was the outermost "text"
  bool found_ = false;
};

constexpr absl::string_view kNotFinite[] = {"NaN", "Infinity", "-Infinity"};
constexpr absl::string_view kAroundValues = ",:[]{} \t\r\n";

// `json` with a zero, of the same length, for each NaN and Infinity that is a
// value: Python's json writes them, JSON has no such numbers.
std::string WithoutNotFinite(absl::string_view json) {
  std::string plain(json);
  const auto is_end = [&](size_t at) {
    return at >= json.size() ||
           kAroundValues.find(json[at]) != absl::string_view::npos;
  };
  bool in_string = false;
  for (size_t i = 0; i < json.size(); ++i) {
    if (json[i] == '"') in_string = !in_string;
    if (in_string) {
      if (json[i] == '\\') ++i;
      continue;
    }
    if (i > 0 && !is_end(i - 1)) continue;
    for (const absl::string_view word : kNotFinite) {
      if (json.substr(i, word.size()) != word || !is_end(i + word.size()))
        continue;
      plain.replace(i, word.size(), word.size(), ' ');
      plain[i] = '0';
    }
  }
  return plain;
}

absl::Status Parse(absl::string_view json, std::string& text) {
  TextHandler handler(text);
  nlohmann::json::sax_parse(json.data(), json.data() + json.size(), &handler);
  if (!handler.problem().empty()) return absl::DataLossError(handler.problem());
  if (!handler.found()) return absl::DataLossError("no \"text\" in the object");
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadJsonText(absl::string_view json, std::string& text) {
  // The parser takes a zero byte for the end of its input.
  if (const size_t zero = json.find('\0'); zero != absl::string_view::npos) {
    return absl::DataLossError(
        absl::StrCat("byte 0x00 at byte ", zero + 1, " of the line"));
  }
  const absl::Status status = Parse(json, text);
  if (status.ok()) return status;
  for (const absl::string_view word : kNotFinite)
    if (absl::StrContains(json, word))
      return Parse(WithoutNotFinite(json), text);
  return status;
}

}  // namespace moe
