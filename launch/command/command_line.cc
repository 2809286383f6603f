#include "launch/command/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "comm/base/status_macros.h"
#include "trainer/config/foreign_keys.h"
#include "trainer/config/nearest_name.h"
#include "trainer/config/parse_value.h"

namespace moe {
namespace {

// Those of comm/base/exit_code.h.
constexpr std::pair<int, const char*> kExitCodes[] = {
    {64, "usage or configuration error; nothing was started"},
    {65, "damaged or unsuitable input data or checkpoint"},
    {69, "not enough memory, or no such device"},
    {70, "internal error: a bug in this program"},
    {71, "a rank, a node or the network failed"},
    {74, "disk error: full, read-only, over quota, ..."},
    {75, "stopped on request, everything saved; start again to continue"},
    {76, "loss, gradient or logits became NaN or infinite"}};

// What was typed for one flag.
struct Typed {
  CLI::Option* option = nullptr;
  std::vector<std::string> values;
};

// The words with "--flag=" as two, "--flag" and "": CLI11 takes the next word
// for the value of the former.
std::vector<std::string> SplitEmptyValues(int argc, const char* const* argv) {
  std::vector<std::string> words;
  for (int i = 0; i < argc; ++i) {
    absl::string_view word = argv[i];
    const bool is_flag = absl::StartsWith(word, "--");
    if (is_flag && word.find('=') == word.size() - 1) {
      words.emplace_back(word.substr(0, word.size() - 1));
      word = "";
    }
    words.emplace_back(word);
  }
  return words;
}

std::string FlagText(const std::string& name, const std::string& value_name) {
  return absl::StrCat("--", name, value_name.empty() ? "" : "=", value_name);
}

}  // namespace

void CommandLine::Add(const std::string& name, const std::string& value_name,
                      const std::string& help, Target target) {
  flags_.push_back({name, value_name, help, target});
}

void CommandLine::AddWords(const std::string& usage, const std::string& help,
                           std::vector<std::string>* words) {
  words_usage_ = usage;
  words_help_ = help;
  words_ = words;
}

absl::StatusOr<std::string> CommandLine::Parse(int argc,
                                               const char* const* argv) const {
  RETURN_IF_ERROR(CheckSwitches(argc, argv));
  CLI::App app;
  app.allow_extras();
  app.set_help_flag();
  bool help = false;
  bool version = false;
  app.add_flag("-h,--help", help);
  app.add_flag("--version", version);
  std::vector<Typed> typed(flags_.size());  // options point into it
  for (size_t i = 0; i < flags_.size(); ++i) {
    const std::string name = "--" + flags_[i].name;
    typed[i].option = flags_[i].value_name.empty()
                          ? app.add_flag(name)
                          : app.add_option(name, typed[i].values);
    typed[i].option->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    typed[i].option->allow_extra_args(false);  // one value each time
    typed[i].option->type_name(flags_[i].value_name);
  }
  const std::vector<std::string> words = SplitEmptyValues(argc, argv);
  std::vector<const char*> pointers;
  for (const std::string& word : words) pointers.push_back(word.c_str());
  try {
    app.parse(static_cast<int>(pointers.size()), pointers.data());
  } catch (const CLI::ParseError& error) {
    return absl::InvalidArgumentError(
        absl::StrCat(error.what(), "; see ", program_.name, " --help"));
  }
  if (help) return Help();
  if (version) return absl::StrCat(program_.name, " " MOE_VERSION "\n");
  for (const std::string& word : app.remaining()) {
    if (words_ == nullptr || absl::StartsWith(word, "-")) return Refuse(word);
    words_->push_back(word);
  }
  for (size_t i = 0; i < flags_.size(); ++i) {
    if (typed[i].option->count() == 0) continue;
    if (flags_[i].value_name.empty()) typed[i].values = {""};
    RETURN_IF_ERROR(CheckOnce(flags_[i], typed[i].values));
    for (const std::string& value : typed[i].values)
      RETURN_IF_ERROR(Set(flags_[i], value));
  }
  return std::string();
}

// "--switch=no" would be taken for "--switch", or its negation.
absl::Status CommandLine::CheckSwitches(int argc,
                                        const char* const* argv) const {
  std::vector<std::string> switches = {"--help", "--version"};
  for (const Flag& flag : flags_)
    if (flag.value_name.empty()) switches.push_back("--" + flag.name);
  for (int i = 1; i < argc; ++i) {
    const absl::string_view word = argv[i];
    if (word == "--") break;
    const size_t equals = word.find('=');
    if (equals == absl::string_view::npos) continue;
    const absl::string_view name = word.substr(0, equals);
    if (!absl::c_linear_search(switches, name)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(name, " is given the value '", word.substr(equals + 1),
                     "', must be given without one"));
  }
  return absl::OkStatus();
}

absl::Status CommandLine::CheckOnce(
    const Flag& flag, const std::vector<std::string>& values) const {
  const bool is_list =
      std::holds_alternative<std::vector<std::string>*>(flag.target);
  if (values.size() == 1 || is_list) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--", flag.name, " is given ", values.size(), " times, as '",
                   absl::StrJoin(values, "' and '"), "', must be given once"));
}

absl::Status CommandLine::Set(const Flag& flag,
                              const std::string& value) const {
  const std::string name = "--" + flag.name;
  // As a script leaves it whose variable is not set.
  for (const char* kind : {"DIRECTORY", "FILE", "NAME", "PREFIX"}) {
    if (!value.empty() || flag.value_name != kind) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        name, " is empty, must be a ", absl::AsciiStrToLower(flag.value_name)));
  }
  if (bool* const* target = std::get_if<bool*>(&flag.target)) {
    **target = true;
  } else if (int64_t* const* integer = std::get_if<int64_t*>(&flag.target)) {
    ASSIGN_OR_RETURN(**integer, ParseInteger(name, value));
  } else if (double* const* number = std::get_if<double*>(&flag.target)) {
    ASSIGN_OR_RETURN(**number, ParseNumber(name, value));
  } else if (auto* const* list =
                 std::get_if<std::vector<std::string>*>(&flag.target)) {
    (*list)->push_back(value);
  } else {
    *std::get<std::string*>(flag.target) = value;
  }
  return absl::OkStatus();
}

absl::Status CommandLine::Refuse(const std::string& word) const {
  if (!absl::StartsWith(word, "-")) {
    return absl::InvalidArgumentError(absl::StrCat(
        "'", word, "' is no flag; see ", program_.name, " --help"));
  }
  const std::pair<std::string, std::string> parts =
      absl::StrSplit(word, absl::MaxSplits('=', 1));
  return absl::InvalidArgumentError(
      absl::StrCat("there is no flag ", parts.first, "; did you mean ",
                   Suggestion(parts.first, parts.second), "?"));
}

// A flag of nearly the same letters, or that begins so, goes before a key.
std::string CommandLine::Suggestion(const std::string& flag,
                                    absl::string_view value) const {
  const auto nearly_the_same = static_cast<int>(flag.size() / 3);
  std::vector<std::string> names = {"--help", "--version"};
  for (const Flag& known : flags_) names.push_back("--" + known.name);
  const std::string nearest = NearestName(flag, names);
  if (program_.nearest_key == nullptr ||
      EditDistance(flag.substr(0, kMostCompared), nearest) <= nearly_the_same)
    return nearest;
  for (const std::string& name : names)
    if (flag.size() > 2 && absl::StartsWith(name, flag)) return name;
  const size_t dashes = std::min(flag.find_first_not_of('-'), flag.size());
  const std::string key = program_.nearest_key(flag.substr(dashes));
  if (key.empty()) return nearest;
  const ForeignKey* foreign = FindForeignKey(flag.substr(dashes));
  const bool keeps_value = foreign == nullptr || foreign->has_our_values;
  return absl::StrCat(key, "=", keeps_value && !value.empty() ? value : "...");
}

std::string CommandLine::Help() const {
  std::vector<std::pair<std::string, std::string>> lines;
  if (words_ != nullptr) lines.emplace_back(words_usage_, words_help_);
  for (const auto& word : program_.words) lines.push_back(word);
  for (const Flag& flag : flags_)
    lines.emplace_back(FlagText(flag.name, flag.value_name), flag.help);
  lines.emplace_back("--help", "this text");
  lines.emplace_back("--version", "the version");
  size_t width = 0;
  for (const auto& line : lines) width = std::max(width, line.first.size());

  std::string text = absl::StrCat(
      program_.name, ": ", program_.purpose, "\n\nUsage: ", program_.name,
      " [flags]", words_ == nullptr ? "" : " ", words_usage_, "\n\n");
  for (const auto& line : lines)
    absl::StrAppendFormat(&text, "  %-*s  %s\n", static_cast<int>(width),
                          line.first, line.second);
  absl::StrAppend(&text, "\nExit codes:\n  0   done\n");
  std::map<int, std::string> codes(program_.own_exit_codes.begin(),
                                   program_.own_exit_codes.end());
  for (const auto& [code, meaning] : kExitCodes)
    if (absl::c_linear_search(program_.exit_codes, code))
      codes.try_emplace(code, meaning);
  for (const auto& [code, meaning] : codes)
    absl::StrAppendFormat(&text, "  %-2d  %s\n", code, meaning);
  absl::StrAppend(&text, "\nExamples:\n");
  for (const std::string& example : program_.examples)
    absl::StrAppend(&text, "  ", example, "\n");
  return text;
}

}  // namespace moe
