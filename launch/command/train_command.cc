#include "launch/command/train_command.h"

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "comm/base/status_macros.h"
#include "data/corpus_source.h"
#include "data/storage/file_system.h"
#include "data/text/tokenizer.h"
#include "data/text/utf8.h"
#include "launch/command/command_line.h"
#include "launch/command/presets.h"
#include "launch/command/share_directory.h"
#include "trainer/checkpoint/store/stored_checkpoint.h"
#include "trainer/config/config_check.h"
#include "trainer/config/config_give_way.h"
#include "trainer/config/config_keys.h"
#include "trainer/config/config_layers.h"
#include "trainer/config/config_override.h"
#include "trainer/config/config_resolve.h"
#include "trainer/config/config_text.h"
#include "trainer/plan/dry_run.h"
#include "trainer/run/init_from.h"
#include "trainer/run/run_data.h"
#include "trainer/run/run_directory.h"

namespace moe {
namespace {

constexpr int64_t kMaxConfigBytes = int64_t{1} << 20;
constexpr int64_t kMostRanks = int64_t{1} << 20;
constexpr int64_t kNotGiven = std::numeric_limits<int64_t>::min();

struct Flags {
  std::string preset;
  std::string config;
  std::string resume = "auto";
  std::string init_from;
  int64_t ranks = kNotGiven;  // as many as there are
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
      .nearest_key = NearestConfigKey,
  });
  line.AddWords(
      "[section.key=value ...]",
      "set single values; if a key is given twice, the last value counts",
      &flags.overrides);
  line.Add(
      "preset", "NAME",
      "start from a preset (default: quickstart; no preset with --init-from)",
      &flags.preset);
  line.Add("config", "FILE",
           "start from a configuration file, as --print-config prints it",
           &flags.config);
  line.Add(
      "resume", "auto|none|DIRECTORY",
      "what to resume: the newest checkpoint in run.directory, if there is "
      "one (default: auto); nothing; the checkpoint in DIRECTORY",
      &flags.resume);
  line.Add(
      "init-from", "DIRECTORY",
      "start a new run from the weights of a checkpoint, ours or a Hugging "
      "Face Mixtral; model.* and router.renormalize come from the "
      "checkpoint unless you give them",
      &flags.init_from);
  line.Add("dry-run", "",
           "print sizes, memory and traffic, and train nothing; if a run here "
           "would be refused, end with its message and exit code",
           &flags.dry_run);
  line.Add("ranks", "N", "with --dry-run: plan for N ranks", &flags.ranks);
  line.Add("print-config", "", "print the whole configuration",
           &flags.print_config);
  line.Add("list-presets", "", "print the names of the presets",
           &flags.list_presets);
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
  if (flags.ranks == kNotGiven) return absl::OkStatus();
  if (!flags.dry_run)
    return absl::InvalidArgumentError("--ranks is for --dry-run only");
  if (flags.ranks >= 1 && flags.ranks <= kMostRanks) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "--ranks is ", flags.ranks, ", must be from 1 to ", kMostRanks));
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

// All but the checkpoint's.
absl::StatusOr<ConfigLayers> ReadLayers(const Flags& flags) {
  ConfigLayers layers;
  if (!flags.config.empty()) {
    ASSIGN_OR_RETURN(layers.typed, ReadConfigFile(flags.config));
  } else if (!flags.preset.empty() || flags.init_from.empty()) {
    ASSIGN_OR_RETURN(
        const Preset preset,
        FindPreset(flags.preset.empty() ? "quickstart" : flags.preset));
    ASSIGN_OR_RETURN(layers.preset, ParseConfig(preset.text, preset.name));
  }
  RETURN_IF_ERROR(ApplyOverrides(layers.typed, flags.overrides));
  return layers;
}

// The checkpoint that the run goes on from. A start that cannot be found is
// told of later.
std::optional<FoundCheckpoint> FindOwnCheckpoint(const TrainCommand& command,
                                                 const ConfigLayers& layers) {
  auto found =
      FindStart(command.start, RunDirectory(layers.Merged().run().directory()),
                PosixFileSystem());
  return found.ok() ? *std::move(found) : std::nullopt;
}

// The layer of --init-from. A dry run does without a source that is not here.
absl::Status AddCheckpoint(const Flags& flags,
                           const std::optional<FoundCheckpoint>& own,
                           ConfigLayers& layers, OutsideBounds& bounds,
                           TrainCommand& command) {
  if (flags.init_from.empty()) return absl::OkStatus();
  const absl::StatusOr<TakenWords> taken =
      TakeWords(flags.init_from, own, PosixFileSystem());
  if (absl::IsNotFound(taken.status()) && flags.dry_run)
    return absl::OkStatus();
  RETURN_IF_ERROR(taken.status());
  layers.checkpoint = taken->settings;
  bounds.sliding_window = taken->sliding_window;
  command.start.vocabulary_from = taken->directory;
  if (!taken->is_source) return absl::OkStatus();
  RETURN_IF_ERROR(
      Annotate(CheckSameModel(taken->directory, taken->settings, layers.typed),
               "--init-from"));
  const std::string text = TakenText(*taken, layers.typed);
  if (!text.empty()) command.notes.push_back(text);
  return absl::OkStatus();
}

// What gave way when the run began stays as it was then: what it gave way to
// may be another by now, or gone.
void AddOwnCheckpoint(const std::optional<FoundCheckpoint>& own,
                      ConfigLayers& layers) {
  if (!own.has_value()) return;
  const auto before = ReadTrainConfig(PosixFileSystem(), own->path);
  if (!before.ok()) return;
  const ScheduleConfig& schedule = before->schedule();
  TrainConfig kept;
  if (before->model().has_vocab_size())
    kept.mutable_model()->set_vocab_size(before->model().vocab_size());
  if (schedule.has_warmup_steps())
    kept.mutable_schedule()->set_warmup_steps(schedule.warmup_steps());
  if (schedule.has_cooldown_steps())
    kept.mutable_schedule()->set_cooldown_steps(schedule.cooldown_steps());
  Overlay(kept, layers.checkpoint);
}

// Of data.tokenizer where its size bounds a vocabulary that nobody gave; 0
// otherwise, and where it cannot be read: the run says so.
int64_t TokenizerPieces(const ConfigLayers& layers) {
  const TrainConfig config = layers.Merged();
  if (config.data().tokenizer().empty() ||
      layers.typed.model().has_vocab_size())
    return 0;
  const auto tokenizer = Tokenizer::Load(
      FullDataPath(config.data().tokenizer(), ShareDirectory()));
  return tokenizer.ok() ? (*tokenizer)->vocab_size() : 0;
}

absl::Status MakeConfig(const Flags& flags, TrainCommand& command) {
  ASSIGN_OR_RETURN(ConfigLayers layers, ReadLayers(flags));
  const std::optional<FoundCheckpoint> own = FindOwnCheckpoint(command, layers);
  OutsideBounds bounds{.tokenizer_pieces = TokenizerPieces(layers)};
  RETURN_IF_ERROR(AddCheckpoint(flags, own, layers, bounds, command));
  AddOwnCheckpoint(own, layers);
  command.start.vocab_size_may_shrink =
      !layers.typed.model().has_vocab_size() &&
      !layers.checkpoint.model().has_vocab_size();
  command.config = layers.Merged();
  for (std::string& note : GiveWay(layers, bounds, command.config))
    command.notes.push_back(std::move(note));
  return absl::OkStatus();
}

std::string PresetList() {
  std::string text;
  for (const Preset& preset : Presets())
    absl::StrAppendFormat(&text, "%-14s %s\n", preset.name, preset.summary());
  return text;
}

// Looks at what a run that is started here would look at, in its order. The
// text is whole whatever it finds: a run may be planned before its data are
// there.
absl::Status RunDry(int world, TrainCommand& command) {
  FileSystem& files = PosixFileSystem();
  const RunDirectory directory(command.config.run().directory());
  ASSIGN_OR_RETURN(const DryRun run, MakeDryRun(command.config, world));
  std::string notes;
  const auto note = [&notes](absl::string_view line) {
    absl::ConsumePrefix(&line, "warning: ");
    absl::StrAppend(&notes, "Note: ", line, "\n");
  };
  for (const std::string& line : command.notes) note(line);
  const CorpusOptions options =
      RunDataOptions(run.config, command.start, ShareDirectory());
  // A plan may be of a run whose data are not named yet.
  absl::Status data = RequireTrainingData(run.config);
  const bool has_data = data.ok();
  if (!has_data) note(data.message());
  data = has_data ? CheckSources(run.config, command.start, options, files)
                  : absl::OkStatus();
  const absl::Status fits = BeginsAnew(command.start, directory, files)
                                ? CheckFitsFromBeginning(command.config)
                                : absl::OkStatus();
  for (const absl::Status& status :
       {data, fits, CheckRunDirectory(directory),
        CheckStart(command.start, run.config, files, note)})
    if (!status.ok()) command.refusals.push_back(status);
  DataPreview preview;
  if (has_data && data.ok())
    preview = PreviewData(run.config, command.start, options, files);
  for (absl::Status& refusal : preview.refusals)
    command.refusals.push_back(std::move(refusal));
  command.text = absl::StrCat(DryRunText(run), preview.text, notes);
  command.notes.clear();
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TrainCommand> ParseTrainCommand(
    int argc, const char* const* argv, int world,
    absl::FunctionRef<absl::Status()> before_dry_run) {
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
  RETURN_IF_ERROR(MakeConfig(flags, command));
  if (flags.print_config) {
    command.text = PrintConfig(command.config);
    command.notes.clear();  // scripts ask for it, and then start the run
    return command;
  }
  if (flags.ranks != kNotGiven) world = static_cast<int>(flags.ranks);
  RETURN_IF_ERROR(ValidateConfig(command.config, world));
  command.warnings = ConfigWarnings(command.config, world);
  command.dry_run = flags.dry_run;
  if (flags.dry_run) {
    RETURN_IF_ERROR(before_dry_run());
    RETURN_IF_ERROR(RunDry(world, command));
    return command;
  }
  RETURN_IF_ERROR(RequireTrainingData(command.config));
  return command;
}

absl::Status DryRunStatus(const char* program, const TrainCommand& command) {
  if (command.refusals.empty()) return absl::OkStatus();
  const std::string line_begin = absl::StrCat("\n", program, ": ");
  return absl::Status(command.refusals.front().code(),
                      absl::StrJoin(command.refusals, line_begin,
                                    [](std::string* out, const auto& refusal) {
                                      absl::StrAppend(out, refusal.message());
                                    }));
}

std::string BeforehandText(const char* program, const TrainCommand& command) {
  std::string text;
  for (const std::string& warning : command.warnings)
    absl::StrAppend(&text, program, ": warning: ", PrintableText(warning),
                    "\n");
  for (const std::string& note : command.notes)
    absl::StrAppend(&text, "note: ", PrintableText(note), "\n");
  return text;
}

}  // namespace moe
