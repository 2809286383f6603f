#ifndef TRAINER_RUN_RUN_START_H_
#define TRAINER_RUN_RUN_START_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "comm/process_group.h"
#include "data/storage/file_system.h"
#include "trainer/checkpoint/store/checkpoint_finder.h"
#include "trainer/checkpoint/store/source_words.h"
#include "trainer/config/train_config.pb.h"
#include "trainer/run/run_directory.h"
#include "trainer/step/trainer.h"

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
  // Weights of a new run, and what they mean (init_from.h); with kAuto a
  // checkpoint in run.directory goes before.
  std::string init_from = "";
  // Where init_from's words were read from (TakenWords); empty: not yet.
  std::string vocabulary_from = "";
  // Nobody gave model.vocab_size: where a new run learns a vocabulary, it is
  // that of what the text allows.
  bool vocab_size_may_shrink = false;
};

// Where a run begins, found and opened.
struct RunStart {
  std::optional<FoundCheckpoint> checkpoint;
  std::unique_ptr<WeightsLoader> weights;
  std::unique_ptr<StateLoader> moments;
  std::optional<SourceWords> source;  // of the checkpoint, or --init-from's

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

// What ChooseStart would refuse and say, with nothing changed. Of a checkpoint
// to go on from only names, sizes and configurations are looked at; the weights
// of --init-from are all read. For one process.
absl::Status CheckStart(const StartOptions& options, const TrainConfig& config,
                        FileSystem& files,
                        const std::function<void(const std::string&)>& say);

// Whether a run would begin with step 1, by names alone. For one process.
bool BeginsAnew(const StartOptions& options, const RunDirectory& directory,
                FileSystem& files);

}  // namespace moe

#endif  // TRAINER_RUN_RUN_START_H_
