#ifndef LAUNCH_COMMAND_COMMAND_LINE_H_
#define LAUNCH_COMMAND_COMMAND_LINE_H_

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace moe {

// The command line of every program of ours: --name=VALUE or --name VALUE,
// --name alone for a switch, and words. All have --help and --version. An
// unknown flag is an error that suggests the nearest one, or the key of a word
// that it means. A value given twice where one is wanted is an error, and so is
// one given to a switch.
class CommandLine {
 public:
  struct Program {
    std::string name;     // "moe-train"
    std::string purpose;  // one sentence
    std::vector<std::string> examples;
    // What the words may be, each with its help, where that takes lines.
    std::vector<std::pair<std::string, std::string>> words = {};
    // Those of comm/base/exit_code.h that it can end with, beside 0.
    std::vector<int> exit_codes = {};
    // And those that mean something of its own.
    std::vector<std::pair<int, std::string>> own_exit_codes = {};
    // The "section.key" of a word section.key=value that an unknown flag's name
    // most likely means; empty: none. Null: there are no such words.
    std::function<std::string(absl::string_view name)> nearest_key = nullptr;
  };
  explicit CommandLine(const Program& program) : program_(program) {}

  // What the flag changes; it keeps its default if the flag is not given. A
  // list takes the values of all times that it is given.
  using Target = std::variant<bool*, std::string*, int64_t*, double*,
                              std::vector<std::string>*>;
  // "--ranks=N": `name` is "ranks", `value_name` "N" (empty for a bool). `help`
  // fits the same line. What is called DIRECTORY, FILE, NAME or PREFIX may not
  // be empty.
  void Add(const std::string& name, const std::string& value_name,
           const std::string& help, Target target);
  // Words that are no flags, shown as `usage`: "[section.key=value ...]".
  // Without this call they are errors.
  void AddWords(const std::string& usage, const std::string& help,
                std::vector<std::string>* words);

  // Sets the targets. Not empty: what --help or --version wants printed, and
  // nothing else is to be done. InvalidArgument: what was typed wrongly.
  absl::StatusOr<std::string> Parse(int argc, const char* const* argv) const;

  // The text of --help: usage, one line a flag, exit codes, examples.
  std::string Help() const;

 private:
  struct Flag {
    std::string name;
    std::string value_name;
    std::string help;
    Target target;
  };

  absl::Status CheckSwitches(int argc, const char* const* argv) const;
  absl::Status CheckOnce(const Flag& flag,
                         const std::vector<std::string>& values) const;
  absl::Status Set(const Flag& flag, const std::string& value) const;
  absl::Status Refuse(const std::string& word) const;
  std::string Suggestion(const std::string& flag,
                         absl::string_view value) const;

  Program program_;
  std::vector<Flag> flags_;
  std::string words_usage_;
  std::string words_help_;
  std::vector<std::string>* words_ = nullptr;
};

}  // namespace moe

#endif  // LAUNCH_COMMAND_COMMAND_LINE_H_
