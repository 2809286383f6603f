#include "trainer/run/run_saver.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "comm/activity.h"
#include "comm/base/monotonic_time.h"
#include "comm/base/status_macros.h"
#include "trainer/checkpoint/format/checkpoint_directory.h"
#include "trainer/config/config_text.h"

namespace moe {
namespace {

// Adds the time until it goes out of scope.
class Stopwatch {
 public:
  explicit Stopwatch(absl::Duration& total)
      : total_(total), begin_(MonotonicTime()) {}
  ~Stopwatch() { total_ += MonotonicTime() - begin_; }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

 private:
  absl::Duration& total_;
  const absl::Duration begin_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<RunSaver>> RunSaver::Create(
    const Environment& environment, const std::string& directory,
    int64_t saved_step, std::optional<double> valid_loss) {
  std::unique_ptr<RunSaver> saver(new RunSaver(environment, directory));
  const CheckpointConfig& config = environment.config.checkpoint();
  ASSIGN_OR_RETURN(
      saver->saver_,
      CheckpointSaver::Create(
          environment.files,
          {.table = environment.trainer.table(),
           .mesh = environment.mesh,
           .groups = environment.groups,
           .state = environment.trainer.optimizer()},
          {.keep = config.keep(), .keep_best = config.keep_best()}));
  saver->last_.step = saved_step;
  saver->last_.path = JoinPath(directory, StepDirectoryName(saved_step));
  if (valid_loss.has_value()) saver->NoteValidLoss(*valid_loss);
  return saver;
}

void RunSaver::NoteValidLoss(double loss) {
  valid_loss_ = std::isfinite(loss) ? std::optional(loss) : std::nullopt;
}

absl::Status RunSaver::AfterStep(bool due) {
  Stopwatch stopwatch(standstill_);
  const PhaseScope phase(Phase::kCheckpoint);
  if (saver_->busy()) {
    ASSIGN_OR_RETURN(const std::optional<SaveResult> result, saver_->Poll());
    if (result.has_value()) Handle(*result);
  }
  if (!due) return absl::OkStatus();
  RETURN_IF_ERROR(FinishPending());
  RETURN_IF_ERROR(Start(directory_));
  return environment_.config.checkpoint().asynchronous() ? absl::OkStatus()
                                                         : FinishPending();
}

absl::StatusOr<std::string> RunSaver::SaveLast() {
  const PhaseScope phase(Phase::kCheckpoint);
  RETURN_IF_ERROR(FinishPending());
  const int64_t step = environment_.trainer.step();
  if (last_.step != step || !last_.status.ok()) {
    RETURN_IF_ERROR(Start(directory_));
    RETURN_IF_ERROR(FinishPending());
  }
  RETURN_IF_ERROR(last_.status);
  return last_.path;
}

absl::StatusOr<std::string> RunSaver::SaveElsewhere(
    const std::string& directory) {
  const PhaseScope phase(Phase::kCheckpoint);
  RETURN_IF_ERROR(FinishPending());
  absl::Status removed;
  if (world().rank() == 0) {
    removed = environment_.files.Remove(
        JoinPath(directory, StepDirectoryName(environment_.trainer.step())));
  }
  RETURN_IF_ERROR(AgreeOnStatus(removed, world()));
  RETURN_IF_ERROR(Start(directory));
  RETURN_IF_ERROR(FinishPending());
  RETURN_IF_ERROR(last_.status);
  return last_.path;
}

absl::Duration RunSaver::TakeStandstill() {
  return std::exchange(standstill_, absl::ZeroDuration());
}

absl::Status RunSaver::Start(const std::string& directory) {
  has_begun_any_ = true;
  CheckpointManifest manifest;
  manifest.set_step(environment_.trainer.step());
  manifest.set_consumed_samples(environment_.trainer.consumed_samples());
  if (environment_.trainer.skipped_steps() > 0)
    manifest.set_skipped_steps(environment_.trainer.skipped_steps());
  manifest.set_samples_per_epoch(
      environment_.corpus.train().samples_per_epoch());
  for (const RunPosition& change : environment_.trainer.length().changes()) {
    CheckpointManifest::BatchChange& stored = *manifest.add_batch_change();
    stored.set_step(change.step);
    stored.set_consumed_samples(change.samples);
  }
  DescribeData(environment_.data, manifest);
  if (valid_loss_.has_value()) manifest.set_valid_loss(*valid_loss_);
  ASSIGN_OR_RETURN(const std::optional<SaveResult> result,
                   saver_->Start(directory, manifest, TextFiles()));
  if (result.has_value()) Handle(*result);
  return absl::OkStatus();
}

absl::Status RunSaver::FinishPending() {
  if (!saver_->busy()) return absl::OkStatus();
  ASSIGN_OR_RETURN(
      const SaveResult result,
      saver_->Finish([this](absl::Duration waited, int rank) {
        environment_.say(absl::StrCat(
            "waiting for a checkpoint for ", absl::ToInt64Seconds(waited),
            " s so far: the disk of rank ", rank, " is not done"));
      }));
  Handle(result);
  return absl::OkStatus();
}

void RunSaver::Handle(const SaveResult& result) {
  last_ = result;
  if (world().rank() != 0 || result.status.ok()) return;
  environment_.say(absl::StrCat("saving step ", result.step,
                                " failed: ", result.status.message()));
}

std::vector<NamedFile> RunSaver::TextFiles() const {
  if (world().rank() != 0) return {};
  const TrainConfig& config = environment_.config;
  std::vector<NamedFile> files = ModelFiles(
      config.model(), config.router(), config.batch().sequence_length(),
      environment_.corpus.tokenizer(), config.data().add_bos(),
      environment_.source);
  files.push_back({kTrainConfigFile, PrintConfig(config)});
  return files;
}

}  // namespace moe
