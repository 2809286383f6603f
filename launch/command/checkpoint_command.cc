#include "launch/command/checkpoint_command.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "comm/base/cores.h"
#include "comm/base/status_macros.h"
#include "launch/command/command_line.h"
#include "trainer/config/nearest_name.h"

namespace moe {
namespace {

using Action = CheckpointCommand::Action;

constexpr int64_t kMostThreads = 4096;

struct ActionFacts {
  Action action;
  const char* name;
  size_t min_paths;
  size_t max_paths;
  const char* takes;  // the paths, in words
  const char* help;
  // Its flags, beside --threads.
  std::vector<std::string> flags;
};

const std::vector<ActionFacts>& Actions() {
  static const auto* const kActions = new std::vector<ActionFacts>{
      {Action::kList,
       "list",
       1,
       1,
       "RUN",
       "the checkpoints of a run: step, loss, layout, whether all files are "
       "there",
       {"json"}},
      {Action::kInspect,
       "inspect",
       1,
       1,
       "CHECKPOINT",
       "what a checkpoint holds: files, tensors, their norms",
       {"json", "tensors"}},
      {Action::kVerify,
       "verify",
       1,
       1 << 20,
       "CHECKPOINT...",
       "read every byte; check digests, names, shapes and values",
       {"json"}},
      {Action::kDiff,
       "diff",
       2,
       2,
       "A B",
       "how much the tensors of two checkpoints differ",
       {"json", "optimizer"}},
      {Action::kExport,
       "export",
       1,
       1,
       "CHECKPOINT",
       "write the weights in another type, for transformers",
       {"output", "dtype", "max-shard-size"}},
  };
  return *kActions;
}

struct Typed {
  std::vector<std::string> words;
  bool json = false;
  bool tensors = false;
  bool optimizer = false;
  std::string output;
  std::string dtype;
  std::string max_shard_size;
  int64_t threads = 0;

  // The flags that were given, of those that not all commands have.
  std::vector<std::string> Given() const {
    std::vector<std::string> given;
    if (json) given.push_back("json");
    if (tensors) given.push_back("tensors");
    if (optimizer) given.push_back("optimizer");
    if (!output.empty()) given.push_back("output");
    if (!dtype.empty()) given.push_back("dtype");
    if (!max_shard_size.empty()) given.push_back("max-shard-size");
    return given;
  }
};

CommandLine MakeCommandLine(Typed& typed) {
  CommandLine::Program program = {
      .name = "moe-checkpoint",
      .purpose = "lists, inspects, verifies, compares and exports checkpoints.",
      .examples = {"moe-checkpoint verify runs/quickstart",
                   "moe-checkpoint export runs/quickstart --output=bf16 "
                   "--dtype=bfloat16"},
      .words = {},
      .exit_codes = {64, 65, 69, 70, 74},
      .own_exit_codes = {{kExitDiffers, "diff: the checkpoints differ"},
                         {75, "stopped on request; no partial file is left"}}};
  for (const ActionFacts& facts : Actions()) {
    program.words.emplace_back(absl::StrCat(facts.name, " ", facts.takes),
                               facts.help);
  }
  CommandLine line(program);
  line.AddWords(
      "COMMAND PATH...",
      "CHECKPOINT: a checkpoint, or a run directory (its newest checkpoint)",
      &typed.words);
  line.Add("json", "",
           "list, inspect, verify, diff: print one JSON object a line",
           &typed.json);
  line.Add("tensors", "",
           "inspect: print every tensor, not one line for each kind",
           &typed.tensors);
  line.Add("optimizer", "", "diff: compare the optimizer's moments too",
           &typed.optimizer);
  line.Add("output", "DIRECTORY", "export: the directory to create",
           &typed.output);
  line.Add("dtype", "TYPE",
           "export: bfloat16 (the default), float16 or float32", &typed.dtype);
  line.Add("max-shard-size", "SIZE",
           "export: the most bytes of a file (default: 5GB)",
           &typed.max_shard_size);
  line.Add("threads", "N", "number of threads (default: one a core)",
           &typed.threads);
  return line;
}

absl::StatusOr<const ActionFacts*> FindAction(
    const std::vector<std::string>& words) {
  std::vector<std::string> names;
  for (const ActionFacts& facts : Actions()) names.push_back(facts.name);
  if (words.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("a command is missing: ", absl::StrJoin(names, ", "),
                     "; see moe-checkpoint --help"));
  }
  for (const ActionFacts& facts : Actions())
    if (words[0] == facts.name) return &facts;
  return absl::InvalidArgumentError(
      absl::StrCat("there is no command '", words[0], "'; did you mean ",
                   NearestName(words[0], names), "?"));
}

absl::Status CheckFlags(const ActionFacts& facts, const Typed& typed) {
  for (const std::string& given : typed.Given()) {
    if (std::count(facts.flags.begin(), facts.flags.end(), given) > 0) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("--", given, " is no flag of ", facts.name,
                     ", which has --", absl::StrJoin(facts.flags, ", --")));
  }
  if (typed.threads < 0 || typed.threads > kMostThreads) {
    return absl::InvalidArgumentError(
        absl::StrCat("--threads is ", typed.threads,
                     ", must be from 0 (all cores) to ", kMostThreads));
  }
  return absl::OkStatus();
}

absl::Status CheckPaths(const ActionFacts& facts,
                        const std::vector<std::string>& paths) {
  const bool right =
      paths.size() >= facts.min_paths && paths.size() <= facts.max_paths;
  const bool empty = std::count(paths.begin(), paths.end(), "") > 0;
  if (right && !empty) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      facts.name, " takes ", facts.takes, ", has ",
      empty ? "an empty path"
            : absl::StrCat(paths.size(),
                           paths.size() == 1 ? " path" : " paths")));
}

absl::StatusOr<StoredDType> ParseDType(const std::string& text) {
  for (StoredDType dtype :
       {StoredDType::kBF16, StoredDType::kF16, StoredDType::kF32})
    if (text == HuggingFaceDTypeName(dtype)) return dtype;
  return absl::InvalidArgumentError(absl::StrCat(
      "--dtype is '", text, "', must be bfloat16, float16 or float32"));
}

absl::StatusOr<ExportOptions> MakeExportOptions(const Typed& typed) {
  ExportOptions options;
  options.output = typed.output;
  while (options.output.size() > 1 && options.output.back() == '/')
    options.output.pop_back();
  if (options.output.empty()) {
    return absl::InvalidArgumentError(
        "--output is missing: name the directory to write");
  }
  if (!typed.dtype.empty()) {
    ASSIGN_OR_RETURN(options.dtype, ParseDType(typed.dtype));
  }
  if (!typed.max_shard_size.empty()) {
    ASSIGN_OR_RETURN(options.max_shard_bytes,
                     ParseBytes("--max-shard-size", typed.max_shard_size));
  }
  return options;
}

}  // namespace

absl::StatusOr<CheckpointCommand> ParseCheckpointCommand(
    int argc, const char* const* argv) {
  Typed typed;
  CheckpointCommand command;
  ASSIGN_OR_RETURN(command.text, MakeCommandLine(typed).Parse(argc, argv));
  if (!command.text.empty()) return command;
  ASSIGN_OR_RETURN(const ActionFacts* const facts, FindAction(typed.words));
  RETURN_IF_ERROR(CheckFlags(*facts, typed));
  command.action = facts->action;
  command.paths.assign(std::next(typed.words.begin()), typed.words.end());
  RETURN_IF_ERROR(CheckPaths(*facts, command.paths));
  if (command.action == Action::kExport) {
    ASSIGN_OR_RETURN(command.export_options, MakeExportOptions(typed));
  }
  command.json = typed.json;
  command.tensors = typed.tensors;
  command.optimizer = typed.optimizer;
  command.threads =
      typed.threads == 0 ? AvailableCores() : static_cast<int>(typed.threads);
  return command;
}

absl::StatusOr<int64_t> ParseBytes(absl::string_view flag,
                                   absl::string_view text) {
  const size_t digits =
      std::min(text.find_first_not_of("0123456789"), text.size());
  const absl::string_view unit = text.substr(digits);
  constexpr std::pair<absl::string_view, int64_t> kUnits[] = {
      {"", 1},
      {"KB", 1'000},
      {"MB", 1'000'000},
      {"GB", 1'000'000'000},
      {"TB", 1'000'000'000'000},
      {"KiB", int64_t{1} << 10},
      {"MiB", int64_t{1} << 20},
      {"GiB", int64_t{1} << 30},
      {"TiB", int64_t{1} << 40}};
  int64_t number = 0;
  if (absl::SimpleAtoi(text.substr(0, digits), &number) && number > 0) {
    for (const auto& [name, factor] : kUnits) {
      if (unit == name &&
          number <= std::numeric_limits<int64_t>::max() / factor)
        return number * factor;
    }
  }
  return absl::InvalidArgumentError(
      absl::StrCat(flag, " is '", text,
                   "', must be a number of bytes from 1 on, as 5GB, 64MiB or "
                   "1000"));
}

}  // namespace moe
