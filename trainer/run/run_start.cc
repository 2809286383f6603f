#include "trainer/run/run_start.h"

#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "comm/base/status_macros.h"
#include "comm/process_groups.h"
#include "comm/single_group.h"
#include "trainer/checkpoint/format/checkpoint_directory.h"
#include "trainer/checkpoint/store/retention.h"
#include "trainer/checkpoint/store/stored_checkpoint.h"
#include "trainer/config/config_compare.h"
#include "trainer/config/some_of.h"
#include "trainer/run/init_from.h"

namespace moe {
namespace {

using Say = std::function<void(const std::string&)>;

// What looks for a checkpoint: a run, or a dry run that changes nothing.
struct Search {
  FileSystem& files;
  ProcessGroup& world;
  const Say& say;
  Verify verify = Verify::kBytes;
  Damaged damaged_in_run = Damaged::kSetAside;  // in run.directory
};

// The checkpoint that --resume=DIRECTORY means: that itself, or the newest
// below it.
absl::StatusOr<FoundCheckpoint> FindNamed(const std::string& path,
                                          const Search& search) {
  const auto& [files, world, say, verify, damaged_in_run] = search;
  if (files.Exists(JoinPath(path, kManifestFile)))
    return VerifyCheckpoint(files, path, world, verify);
  for (const std::string& directory : {CheckpointsDirectory(path), path}) {
    ASSIGN_OR_RETURN(std::optional<FoundCheckpoint> found,
                     FindNewestCheckpoint(files, directory, Damaged::kLeave,
                                          world, say, verify));
    if (found.has_value()) return *std::move(found);
  }
  return AgreeOnStatus(
      absl::NotFoundError(
          absl::StrCat("--resume is ", path,
                       ", which holds no complete checkpoint: neither ",
                       kManifestFile, " nor step_NNNNNNNN/ nor checkpoints/")),
      world);
}

// What is newer than where the run goes on would be in its way.
absl::Status RefuseNewer(const RunDirectory& directory, int64_t step,
                         FileSystem& files) {
  if (!files.IsDirectory(directory.checkpoints())) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::vector<std::string> names,
                   files.List(directory.checkpoints()));
  for (const std::string& name : names) {
    const std::optional<int64_t> other = StepOfDirectory(name);
    if (!other.has_value() || *other <= step) continue;
    const std::string newer =
        step < 0 ? ", and --resume is none"
                 : absl::StrCat(", newer than where the run would begin (step ",
                                step, ")");
    return absl::InvalidArgumentError(
        absl::StrCat("run.directory is ", directory.path(), ", which holds ",
                     name, newer, ": give another run.directory or remove it"));
  }
  return absl::OkStatus();
}

// The name of a checkpoint, whole or damaged, in the run's directory; empty:
// there is none.
absl::StatusOr<std::string> AnyCheckpoint(const RunDirectory& directory,
                                          FileSystem& files) {
  if (!files.IsDirectory(directory.checkpoints())) return "";
  ASSIGN_OR_RETURN(const std::vector<std::string> names,
                   files.List(directory.checkpoints()));
  for (const std::string& name : names) {
    const absl::string_view stem = absl::StripSuffix(name, kDamagedSuffix);
    if (StepOfDirectory(stem).has_value()) return name;
  }
  return "";
}

// Where no checkpoint is whole: a run does not begin anew unasked, now or when
// it is started again.
absl::Status RefuseDamaged(const RunDirectory& directory, FileSystem& files) {
  ASSIGN_OR_RETURN(const std::string name, AnyCheckpoint(directory, files));
  if (name.empty()) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(
      "run.directory is ", directory.path(), ", which holds checkpoints (",
      name,
      ") but none that is whole: give another run.directory, or remove "
      "them to begin anew"));
}

absl::StatusOr<std::optional<FoundCheckpoint>> Find(
    const StartOptions& options, const RunDirectory& directory,
    const Search& search) {
  const auto& [files, world, say, verify, damaged_in_run] = search;
  std::optional<FoundCheckpoint> found;
  if (options.resume == StartOptions::Resume::kAuto) {
    ASSIGN_OR_RETURN(found,
                     FindNewestCheckpoint(files, directory.checkpoints(),
                                          damaged_in_run, world, say, verify));
    RETURN_IF_ERROR(AgreeOnStatus(!found.has_value() && world.rank() == 0
                                      ? RefuseDamaged(directory, files)
                                      : absl::OkStatus(),
                                  world));
    return found;
  }
  int64_t begin = -1;
  if (options.resume == StartOptions::Resume::kDirectory) {
    ASSIGN_OR_RETURN(found, FindNamed(options.resume_directory, search));
    begin = found->manifest.step();
  }
  RETURN_IF_ERROR(AgreeOnStatus(world.rank() == 0
                                    ? RefuseNewer(directory, begin, files)
                                    : absl::OkStatus(),
                                world));
  return found;
}

// Keys that only a newer version of this program knows. A run may change most
// of its settings, so that it may lose them too; but its model and data must be
// known in full.
absl::Status CheckUnknownKeys(const std::vector<std::string>& keys,
                              const std::string& path, const Say& say) {
  constexpr size_t kMostShown = 12;
  std::vector<std::string> fixed;
  std::vector<std::string> free;
  for (const std::string& key : keys) {
    const bool is_section = !absl::StrContains(key, '.');
    (is_section || IsFixedByCheckpoint(key) ? fixed : free).push_back(key);
  }
  const std::string newer =
      absl::StrCat(path, " was written by a newer version of this program");
  if (!fixed.empty()) {
    return absl::UnimplementedError(absl::StrCat(
        newer, ": this one does not know ", SomeOf(fixed, kMostShown)));
  }
  if (!free.empty()) {
    say(absl::StrCat("warning: ", newer, "; this one goes on without ",
                     SomeOf(free, kMostShown)));
  }
  return absl::OkStatus();
}

absl::Status CheckSameRun(const FoundCheckpoint& checkpoint,
                          const TrainConfig& config, FileSystem& files,
                          const Say& say) {
  std::vector<std::string> unknown;
  ASSIGN_OR_RETURN(const TrainConfig before,
                   ReadTrainConfig(files, checkpoint.path, &unknown));
  RETURN_IF_ERROR(CheckUnknownKeys(unknown, checkpoint.path, say));
  std::vector<ConfigDifference> contradictions;
  std::vector<ConfigDifference> changes;
  const KnowData data = checkpoint.manifest.train_size() > 0
                            ? KnowData::kByContent
                            : KnowData::kByName;
  for (ConfigDifference& difference : CompareConfigs(before, config, data))
    (difference.contradicts ? contradictions : changes)
        .push_back(std::move(difference));
  if (!contradictions.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the configuration is not that of ", checkpoint.path, ": ",
                     DifferencesText(contradictions),
                     "; a run that goes on cannot change these"));
  }
  if (!changes.empty())
    say(absl::StrCat("changed since: ", DifferencesText(changes)));
  return absl::OkStatus();
}

std::string NotUsedText(const StartOptions& options) {
  return absl::StrCat(
      "--init-from=", options.init_from,
      " is not used: the run goes on from a checkpoint of its own");
}

absl::Status OpenState(RunStart& start, FileSystem& files,
                       const ParameterTable& table) {
  const FoundCheckpoint& found = *start.checkpoint;
  ASSIGN_OR_RETURN(start.source,
                   ReadSourceWordsAndTokenizerFiles(files, found.path));
  ASSIGN_OR_RETURN(start.weights, WeightsLoader::Open(files, found.path));
  RETURN_IF_ERROR(start.weights->Check(table));
  ASSIGN_OR_RETURN(start.moments,
                   StateLoader::Open(files, found.path, found.manifest));
  return start.moments->Check(table);
}

}  // namespace

TrainingStart RunStart::training() const {
  TrainingStart training{.weights = weights.get(), .moments = moments.get()};
  if (checkpoint.has_value()) {
    training.step = checkpoint->manifest.step();
    training.consumed_samples = checkpoint->manifest.consumed_samples();
    training.skipped_steps = checkpoint->manifest.skipped_steps();
    for (const auto& change : checkpoint->manifest.batch_change()) {
      training.batch_changes.push_back(
          {.step = change.step(), .samples = change.consumed_samples()});
    }
  }
  return training;
}

absl::StatusOr<RunStart> ChooseStart(const StartOptions& options,
                                     const TrainConfig& config,
                                     const RunDirectory& directory,
                                     FileSystem& files, ProcessGroup& world,
                                     const Say& say) {
  absl::Status cleaned;
  if (world.rank() == 0) {
    for (const std::string& path :
         {directory.checkpoints(), directory.failure()})
      cleaned.Update(RemoveTemporaries(files, path));
  }
  RETURN_IF_ERROR(AgreeOnStatus(cleaned, world));
  RunStart start;
  ASSIGN_OR_RETURN(
      start.checkpoint,
      Find(options, directory, {.files = files, .world = world, .say = say}));
  const ParameterTable table = WholeTable(config.model());
  absl::Status status;
  if (start.checkpoint.has_value()) {
    status = CheckSameRun(
        *start.checkpoint, config, files,
        world.rank() == 0 ? say : [](const std::string&) {});
    if (status.ok()) status = OpenState(start, files, table);
    RETURN_IF_ERROR(AgreeOnStatus(status, world));
  } else if (!options.init_from.empty()) {
    ASSIGN_OR_RETURN(InitSource source,
                     OpenInitSource(options.init_from, config, files, world));
    start.weights = std::move(source.weights);
    start.source = std::move(source.words);
    if (world.rank() == 0)
      for (const std::string& note : source.notes) say(note);
  }
  if (world.rank() == 0 && start.checkpoint.has_value()) {
    if (!options.init_from.empty()) say(NotUsedText(options));
    say(absl::StrCat("going on from ", start.checkpoint->path, ", written by ",
                     LayoutText(start.checkpoint->manifest)));
  } else if (world.rank() == 0 && start.weights != nullptr) {
    say(absl::StrCat("starting with the weights of ", options.init_from));
  }
  return start;
}

absl::StatusOr<std::optional<FoundCheckpoint>> FindStart(
    const StartOptions& options, const RunDirectory& directory,
    FileSystem& files) {
  const std::unique_ptr<ProcessGroup> alone = MakeSingleGroup("world");
  const Say silent = [](const std::string&) {};
  return Find(options, directory,
              {.files = files,
               .world = *alone,
               .say = silent,
               .verify = Verify::kSizes,
               .damaged_in_run = Damaged::kLeave});
}

absl::Status CheckStart(const StartOptions& options, const TrainConfig& config,
                        FileSystem& files, const Say& say) {
  const RunDirectory directory(config.run().directory());
  ASSIGN_OR_RETURN(const std::optional<FoundCheckpoint> checkpoint,
                   FindStart(options, directory, files));
  if (checkpoint.has_value()) {
    if (!options.init_from.empty()) say(NotUsedText(options));
    return CheckSameRun(*checkpoint, config, files, [](const std::string&) {});
  }
  if (options.init_from.empty()) return absl::OkStatus();
  const std::unique_ptr<ProcessGroup> alone = MakeSingleGroup("world");
  ASSIGN_OR_RETURN(const InitSource source,
                   OpenInitSource(options.init_from, config, files, *alone));
  for (const std::string& note : source.notes) say(note);
  return absl::OkStatus();
}

bool BeginsAnew(const StartOptions& options, const RunDirectory& directory,
                FileSystem& files) {
  if (options.resume == StartOptions::Resume::kDirectory) return false;
  const absl::StatusOr<std::string> name = AnyCheckpoint(directory, files);
  return name.ok() && name->empty();
}

}  // namespace moe
