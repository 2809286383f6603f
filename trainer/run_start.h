#ifndef TRAINER_RUN_START_H_
#define TRAINER_RUN_START_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "comm/process_group.h"
#include "data/file_system.h"
#include "trainer/checkpoint/checkpoint_finder.h"
#include "trainer/run_directory.h"
#include "trainer/train_config.pb.h"
#include "trainer/trainer.h"

namespace moe {

// What a run begins with, as --resume and --init-from say.
struct StartOptions {
  enum class Resume {
    kAuto,       // the newest checkpoint in run.directory, if there is one
    kNone,       // a run.directory that holds checkpoints is refused
    kDirectory,  // resume_directory's full state
  };
  Resume resume = Resume::kAuto;
  std::string resume_directory = "";
  // Weights alone, of a new run; with kAuto a checkpoint goes before.
  std::string init_from = "";
};

// Where a run begins, found and opened.
struct RunStart {
  std::optional<FoundCheckpoint> checkpoint;
  std::unique_ptr<WeightsLoader> weights;
  std::unique_ptr<StateLoader> moments;

  int64_t step() const {
    return checkpoint.has_value() ? checkpoint->manifest.step() : 0;
  }
  TrainingStart training() const;
};

// For a resolved configuration. Collective; an error is the same on all ranks.
// InvalidArgument: the configuration contradicts the checkpoint's (each key
// with both values), or run.directory holds what the options refuse. NotFound,
// DataLoss and FailedPrecondition: what is asked for is not there, damaged, or
// of another model. `say` is for rank 0.
absl::StatusOr<RunStart> ChooseStart(
    const StartOptions& options, const TrainConfig& config,
    const RunDirectory& directory, FileSystem& files, ProcessGroup& world,
    const std::function<void(const std::string&)>& say);

// The checkpoint that a run would go on from, by names and sizes alone;
// nothing: it would begin anew. Nothing is changed. For one process; errors as
// ChooseStart.
absl::StatusOr<std::optional<FoundCheckpoint>> FindStart(
    const StartOptions& options, const RunDirectory& directory,
    FileSystem& files);

// Most of what ChooseStart would refuse, by names, sizes and configurations
// alone: no tensor is read, nothing is changed. For one process.
absl::Status CheckStart(const StartOptions& options, const TrainConfig& config,
                        FileSystem& files);

}  // namespace moe

#endif  // TRAINER_RUN_START_H_
