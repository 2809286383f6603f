#include "launch/train_command.h"

#include <algorithm>
#include <cstdint>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "comm/status_macros.h"
#include "data/file_system.h"
#include "launch/command_line.h"
#include "launch/presets.h"
#include "launch/share_directory.h"
#include "trainer/config_check.h"
#include "trainer/config_override.h"
#include "trainer/config_resolve.h"
#include "trainer/config_text.h"
#include "trainer/dry_run.h"
#include "trainer/run_data.h"
#include "trainer/run_directory.h"

namespace moe {
namespace {

constexpr int64_t kMaxConfigBytes = int64_t{1} << 20;

struct Flags {
  std::string preset;
  std::string config;
  std::string resume = "auto";
  std::string init_from;
  int64_t ranks = 0;  // 0: as many as there are
  bool dry_run = false;
  bool print_config = false;
  bool list_presets = false;
  std::vector<std::string> overrides;
};

CommandLine MakeCommandLine(Flags& flags) {
  CommandLine line({
      .name = "moe-train",
      .purpose = "trains a sparse mixture-of-experts language model.",
      .examples = {"mpirun -n 16 moe-train",
                   "moe-train --preset=e8 --dry-run --ranks=64 "
                   "model.num_hidden_layers=12"},
      .exit_codes = {64, 65, 69, 70, 71, 74, 75, 76},
  });
  line.AddWords("[section.key=value ...]",
                "override single values; the last one of a key holds",
                &flags.overrides);
  line.Add("preset", "NAME", "start from a preset (default: quickstart)",
           &flags.preset);
  line.Add("config", "FILE", "start from a file, as --print-config prints it",
           &flags.config);
  line.Add("resume", "auto|none|DIRECTORY",
           "go on from the newest checkpoint in run.directory, if any; from "
           "none; from that one",
           &flags.resume);
  line.Add("init-from", "DIRECTORY",
           "start with a checkpoint's weights, ours or any Hugging Face "
           "Mixtral's",
           &flags.init_from);
  line.Add("dry-run", "",
           "check what can be checked here; print sizes, memory, traffic",
           &flags.dry_run);
  line.Add("ranks", "N", "with --dry-run: pretend so many ranks", &flags.ranks);
  line.Add("print-config", "", "print the whole configuration",
           &flags.print_config);
  line.Add("list-presets", "", "print the presets' names", &flags.list_presets);
  return line;
}

absl::Status CheckFlags(const Flags& flags) {
  if (!flags.preset.empty() && !flags.config.empty()) {
    return absl::InvalidArgumentError(
        "--preset and --config exclude each other: start from one of them");
  }
  if (flags.resume.empty()) {
    return absl::InvalidArgumentError(
        "--resume is empty, must be auto, none or a directory");
  }
  const bool named = flags.resume != "auto" && flags.resume != "none";
  if (named && !flags.init_from.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--resume=", flags.resume, " and --init-from=", flags.init_from,
        " exclude each other: a run goes on, or starts with weights alone"));
  }
  if (flags.ranks != 0 && !flags.dry_run)
    return absl::InvalidArgumentError("--ranks is for --dry-run only");
  return absl::OkStatus();
}

StartOptions MakeStart(const Flags& flags) {
  StartOptions start{.init_from = flags.init_from};
  if (flags.resume == "none") {
    start.resume = StartOptions::Resume::kNone;
  } else if (flags.resume != "auto") {
    start.resume = StartOptions::Resume::kDirectory;
    start.resume_directory = flags.resume;
  }
  return start;
}

absl::StatusOr<TrainConfig> ReadConfigFile(const std::string& path) {
  absl::StatusOr<std::string> text =
      PosixFileSystem().ReadFile(path, kMaxConfigBytes);
  if (!text.ok()) {  // A wrong name is wrong usage, not wrong data.
    return absl::InvalidArgumentError(
        absl::StrCat("--config: ", text.status().message()));
  }
  return ParseConfig(*text, path);
}

absl::StatusOr<TrainConfig> MakeConfig(const Flags& flags) {
  TrainConfig config;
  if (!flags.config.empty()) {
    ASSIGN_OR_RETURN(config, ReadConfigFile(flags.config));
  } else {
    ASSIGN_OR_RETURN(
        const Preset preset,
        FindPreset(flags.preset.empty() ? "quickstart" : flags.preset));
    ASSIGN_OR_RETURN(config, ParseConfig(preset.text, preset.name));
  }
  RETURN_IF_ERROR(ApplyOverrides(config, flags.overrides));
  return config;
}

std::string PresetList() {
  std::string text;
  for (const Preset& preset : Presets())
    absl::StrAppendFormat(&text, "%-14s %s\n", preset.name, preset.summary());
  return text;
}

// What a run started here would say of its data.
std::string DataOutput(const TrainCommand& command, const TrainConfig& config) {
  const absl::Status required = RequireTrainingData(config);
  if (!required.ok()) return absl::StrCat("Note: ", required.message(), "\n");
  const RunDirectory directory(config.run().directory());
  return PreviewData(config, command.start,
                     {.config = config.data(),
                      .vocab_size = config.model().vocab_size(),
                      .sequence_length = config.batch().sequence_length(),
                      .seed = config.run().seed(),
                      .cache_directory = directory.data(),
                      .share_directory = ShareDirectory()},
                     PosixFileSystem());
}

// What is not here, or not as it must be, is no error: it may be otherwise
// where the run is going to be.
absl::StatusOr<std::string> DryRunOutput(const TrainCommand& command,
                                         int world) {
  ASSIGN_OR_RETURN(const DryRun run, MakeDryRun(command.config, world));
  std::string text = DryRunText(run) + DataOutput(command, run.config);
  for (const absl::Status& status :
       {CheckRunDirectory(RunDirectory(command.config.run().directory())),
        CheckStart(command.start, run.config, PosixFileSystem())})
    if (!status.ok()) absl::StrAppend(&text, "Note: ", status.message(), "\n");
  return text;
}

}  // namespace

absl::StatusOr<TrainCommand> ParseTrainCommand(int argc,
                                               const char* const* argv,
                                               int world) {
  Flags flags;
  const CommandLine line = MakeCommandLine(flags);
  TrainCommand command;
  ASSIGN_OR_RETURN(command.text, line.Parse(argc, argv));
  if (!command.text.empty()) return command;
  RETURN_IF_ERROR(CheckFlags(flags));
  if (flags.list_presets) {
    command.text = PresetList();
    return command;
  }
  command.start = MakeStart(flags);
  ASSIGN_OR_RETURN(command.config, MakeConfig(flags));
  if (flags.print_config) {
    command.text = PrintConfig(command.config);
    return command;
  }
  if (flags.ranks != 0) {
    // ValidateConfig refuses what is out of its range.
    world = static_cast<int>(
        std::clamp<int64_t>(flags.ranks, -1, std::numeric_limits<int>::max()));
  }
  RETURN_IF_ERROR(ValidateConfig(command.config, world));
  command.warnings = ConfigWarnings(command.config, world);
  if (flags.dry_run) {
    ASSIGN_OR_RETURN(command.text, DryRunOutput(command, world));
    return command;
  }
  RETURN_IF_ERROR(RequireTrainingData(command.config));
  return command;
}

}  // namespace moe
