#ifndef TRAINER_RUN_RUN_SAVER_H_
#define TRAINER_RUN_RUN_SAVER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "comm/mesh.h"
#include "comm/process_groups.h"
#include "data/corpus.h"
#include "data/storage/file_system.h"
#include "trainer/checkpoint/store/checkpoint_saver.h"
#include "trainer/config/train_config.pb.h"
#include "trainer/run/data_identity.h"
#include "trainer/step/trainer.h"

namespace moe {

// When a run saves, and what becomes of it: a save that a disk refused is told
// of, and training goes on to the next; the last one must work. All methods are
// collective; errors that they return are of the messages, or of the last save.
class RunSaver {
 public:
  // All outlive the saver; `say` is for rank 0.
  struct Environment {
    const TrainConfig& config;
    FileSystem& files;
    const Mesh& mesh;
    const ProcessGroups& groups;
    Trainer& trainer;
    const Corpus& corpus;
    const DataIdentity& data;
    // Of the checkpoint that the run began or goes on with; null: none.
    const SourceWords* source;
    std::function<void(const std::string&)> say;
  };
  // `saved_step`: of the checkpoint that the run began with; -1: none.
  static absl::StatusOr<std::unique_ptr<RunSaver>> Create(
      const Environment& environment, const std::string& directory,
      int64_t saved_step, std::optional<double> valid_loss);

  // Of the newest weights; what is saved from here on carries it. One that is
  // not finite is none: the last one was of other weights.
  void NoteValidLoss(double loss);

  // After a step: moves a save on; starts one if `due`.
  absl::Status AfterStep(bool due);
  // Waits until the trainer's step is saved; where that is.
  absl::StatusOr<std::string> SaveLast();
  // Saves into another directory, in place of what is there of this step.
  absl::StatusOr<std::string> SaveElsewhere(const std::string& directory);

  // Whether this run has begun any save.
  bool has_begun_any() const { return has_begun_any_; }

  // Time that training stood still for saves since the last call.
  absl::Duration TakeStandstill();

 private:
  RunSaver(const Environment& environment, const std::string& directory)
      : environment_(environment), directory_(directory) {}

  ProcessGroup& world() const { return environment_.groups.world(); }
  absl::Status Start(const std::string& directory);
  absl::Status FinishPending();
  void Handle(const SaveResult& result);
  std::vector<NamedFile> TextFiles() const;

  const Environment environment_;
  const std::string directory_;
  std::unique_ptr<CheckpointSaver> saver_;
  std::optional<double> valid_loss_;
  SaveResult last_{.step = -1, .path = "", .status = {}};
  bool has_begun_any_ = false;
  absl::Duration standstill_;
};

}  // namespace moe

#endif  // TRAINER_RUN_RUN_SAVER_H_
