#ifndef TRAINER_RUN_TRAINING_RUN_H_
#define TRAINER_RUN_TRAINING_RUN_H_

#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "comm/mesh.h"
#include "comm/mpi/mpi_runtime.h"
#include "comm/process_groups.h"
#include "data/corpus.h"
#include "data/storage/file_system.h"
#include "moe/kernels.h"
#include "trainer/config/train_config.pb.h"
#include "trainer/report/metrics.h"
#include "trainer/report/progress_display.h"
#include "trainer/report/trace_range.h"
#include "trainer/run/data_identity.h"
#include "trainer/run/run_directory.h"
#include "trainer/run/run_saver.h"
#include "trainer/run/run_start.h"
#include "trainer/step/trainer.h"

namespace moe {

// What lies around the training steps of RunTraining, in this order: look for
// the data, claim the run directory, find where to begin, prepare and open the
// data, build the trainer, train with metrics, validation and checkpoints. All
// methods are collective.
class TrainingRun {
 public:
  TrainingRun(const TrainConfig& config, const StartOptions& options,
              const MpiRuntime& runtime, const std::string& share_directory,
              FileSystem& files);

  // Up to the first step. Agreed on by all ranks.
  absl::Status Start();
  // All steps, then the last checkpoint; this also after an error that all
  // ranks know of. Cancelled: stopped as asked, everything saved.
  absl::Status Train();

 private:
  absl::Status OpenData(const RunStart& start);
  absl::Status TakeLearnedSize(const RunStart& start);
  absl::Status BuildTrainer(const RunStart& start);
  absl::Status OpenMetrics();
  absl::Status MeasurePeak();
  absl::Status LookAhead() const;

  absl::Status Loop();
  absl::Status WriteTrace(int64_t step, bool last);
  bool TimeIsOver() const;
  bool SaveTimeIsOver() const;
  bool IsDue(int64_t interval, int64_t step) const;
  bool Validates(const StepReport& report, bool last) const;
  absl::StatusOr<StepCost> Cost(const StepReport& report);
  void SaySkipped(const StepReport& report);
  absl::Status Log(const StepReport& report, bool validates);
  absl::Status Save(const StepReport& report);
  absl::Status SaveAtEnd();
  absl::Status SaveAfterFailure(const absl::Status& failure);

  TrainConfig config_;  // but for TakeLearnedSize it stays as it is
  const StartOptions options_;
  const MpiRuntime& runtime_;
  const std::string share_directory_;
  FileSystem& files_;
  const RunDirectory directory_;
  const absl::Duration started_;  // MonotonicTime, like all times here
  ProgressDisplay display_;
  RunDirectoryLocks locks_;  // until nothing below writes any more
  std::optional<Mesh> mesh_;
  std::optional<ProcessGroups> groups_;
  std::unique_ptr<Kernels> kernels_;
  std::optional<SourceWords> source_;  // of what the run began with
  std::unique_ptr<Corpus> corpus_;
  DataIdentity data_identity_;
  std::unique_ptr<Trainer> trainer_;
  int64_t last_step_ = 0;
  std::unique_ptr<RunSaver> saver_;
  absl::Duration save_begun_;
  // When a line of metrics was written last.
  struct {
    int64_t step = 0;
    int64_t samples = 0;
    absl::Duration at;      // MonotonicTime
    absl::Duration waited;  // TimeWaited
  } logged_;
  std::unique_ptr<MetricsLog> metrics_;  // rank 0
  absl::Status metrics_status_;
  std::optional<TraceRange> trace_;
  double peak_flops_ = 0;  // of all cores in use
};

}  // namespace moe

#endif  // TRAINER_RUN_TRAINING_RUN_H_
