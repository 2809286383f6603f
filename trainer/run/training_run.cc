#include "trainer/run/training_run.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "comm/activity.h"
#include "comm/base/monotonic_time.h"
#include "comm/base/status_macros.h"
#include "comm/mpi/mpi_group.h"
#include "moe/model_config.h"
#include "trainer/checkpoint/format/checkpoint_directory.h"
#include "trainer/config/config_check.h"
#include "trainer/config/config_resolve.h"
#include "trainer/config/config_text.h"
#include "trainer/plan/memory_check.h"
#include "trainer/report/failure_report.h"
#include "trainer/report/machine.h"
#include "trainer/report/run_summary.h"
#include "trainer/run/rank_zero_work.h"
#include "trainer/run/run_data.h"
#include "trainer/run/stop_signal.h"

namespace moe {

TrainingRun::TrainingRun(const TrainConfig& config, const StartOptions& options,
                         const MpiRuntime& runtime,
                         const std::string& share_directory, FileSystem& files)
    : config_(config),
      options_(options),
      runtime_(runtime),
      share_directory_(share_directory),
      files_(files),
      directory_(config.run().directory()),
      started_(MonotonicTime()),
      display_(runtime.rank() == 0, ErrorsGoToTerminal()) {}

absl::Status TrainingRun::Start() {
  ASSIGN_OR_RETURN(mesh_,
                   Mesh::Create(runtime_.world(), config_.parallel().tensor(),
                                config_.parallel().expert(),
                                config_.model().num_local_experts()));
  ASSIGN_OR_RETURN(groups_, MakeMpiGroups(runtime_, *mesh_));
  ProcessGroup& world = groups_->world();
  InstallStopSignals();
  RETURN_IF_ERROR(world.Barrier());
  if (world.rank() == 0) ReportStopSignalsHandled();
  RETURN_IF_ERROR(
      AgreeOnStatus(CheckMemory(config_, *mesh_, runtime_.local_size(),
                                FindAvailableMemory()),
                    world));
  // Before anything is made, so that a mistyped path leaves nothing behind.
  RETURN_IF_ERROR(
      AgreeOnStatus(world.rank() == 0 ? LookAhead() : absl::OkStatus(), world));
  const auto say = [this](const std::string& line) { display_.Say(line); };
  ASSIGN_OR_RETURN(locks_, ClaimRunDirectory(files_, directory_, config_, world,
                                             {.say = say}));
  ASSIGN_OR_RETURN(
      const RunStart start,
      ChooseStart(options_, config_, directory_, files_, world, say));
  source_ = start.source;
  RETURN_IF_ERROR(OpenData(start));
  RETURN_IF_ERROR(AgreeOnStatus(TakeLearnedSize(start), world));
  RETURN_IF_ERROR(AgreeOnStatus(BuildTrainer(start), world));
  RETURN_IF_ERROR(MeasurePeak());
  for (const std::string& line :
       RunSummary(config_, *mesh_, trainer_->length(), trainer_->step()))
    display_.Say(line);
  ASSIGN_OR_RETURN(const StepRange traced,
                   ParseStepRange(config_.log().trace_steps()));
  trace_.emplace(traced, files_, directory_.trace(), world);
  return OpenMetrics();
}

absl::Status TrainingRun::LookAhead() const {
  RETURN_IF_ERROR(CheckSources(
      config_, options_, RunDataOptions(config_, options_, share_directory_),
      files_));
  return BeginsAnew(options_, directory_, files_)
             ? CheckFitsFromBeginning(config_)
             : absl::OkStatus();
}

absl::Status TrainingRun::OpenMetrics() {
  absl::Status status;
  if (metrics_ == nullptr && runtime_.rank() == 0) {
    absl::StatusOr<std::unique_ptr<MetricsLog>> metrics = MetricsLog::Open(
        files_, directory_.metrics(), trainer_->step(),
        [this](const std::string& line) { display_.Say(line); });
    status = metrics.status();
    if (metrics.ok()) metrics_ = *std::move(metrics);
  }
  return AgreeOnStatus(status, groups_->world());
}

absl::Status TrainingRun::OpenData(const RunStart& start) {
  const DataListeners listeners = {
      .progress =
          [this](const std::string& what, int64_t done, int64_t total) {
            display_.Preparation(what, done, total);
          },
      .say = [this](const std::string& line) { display_.Say(line); }};
  CorpusOptions options = RunDataOptions(config_, options_, share_directory_);
  // A run that goes on finds its tokenizer by itself (OpenRunData).
  options.vocabulary_from = source_.has_value() && !start.checkpoint.has_value()
                                ? source_->directory
                                : "";
  ASSIGN_OR_RETURN(RunData data,
                   OpenRunData(config_, std::move(options), start, files_,
                               groups_->world(), listeners));
  corpus_ = std::move(data.corpus);
  data_identity_ = std::move(data.identity);
  return absl::OkStatus();
}

// A model whose vocabulary was learned has rows for no more than that has, if
// nobody said otherwise.
absl::Status TrainingRun::TakeLearnedSize(const RunStart& start) {
  const Tokenizer* tokenizer = corpus_->tokenizer();
  const bool learned = tokenizer != nullptr && start.weights == nullptr &&
                       config_.data().tokenizer().empty();
  const int size = config_.model().vocab_size();
  if (!options_.vocab_size_may_shrink || !learned ||
      tokenizer->vocab_size() == size)
    return absl::OkStatus();
  config_.mutable_model()->set_vocab_size(tokenizer->vocab_size());
  display_.Say(absl::StrCat("note: model.vocab_size is ",
                            tokenizer->vocab_size(), ", not ", size,
                            ": the text allows no more pieces"));
  if (runtime_.rank() != 0) return absl::OkStatus();
  return WriteFileAtomically(files_, directory_.config(), PrintConfig(config_));
}

absl::Status TrainingRun::BuildTrainer(const RunStart& start) {
  kernels_ = MakeCpuKernels(config_.run().threads());
  RETURN_IF_ERROR(AgreeOnStatus(kernels_->status(), groups_->world()));
  ASSIGN_OR_RETURN(trainer_, Trainer::Create(config_,
                                             {.mesh = *mesh_,
                                              .groups = *groups_,
                                              .kernels = *kernels_,
                                              .train = corpus_->train(),
                                              .valid = corpus_->valid()},
                                             start.training()));
  last_step_ = trainer_->length().last_step();
  int64_t saved_step = -1;
  std::optional<double> valid_loss;
  if (start.checkpoint.has_value()) {
    const CheckpointManifest& manifest = start.checkpoint->manifest;
    // One in another directory is not this run's.
    if (files_.Exists(JoinPath(directory_.checkpoints(),
                               StepDirectoryName(manifest.step()))))
      saved_step = manifest.step();
    if (manifest.has_valid_loss()) valid_loss = manifest.valid_loss();
  }
  ASSIGN_OR_RETURN(
      saver_,
      RunSaver::Create(
          {.config = config_,
           .files = files_,
           .mesh = *mesh_,
           .groups = *groups_,
           .trainer = *trainer_,
           .corpus = *corpus_,
           .data = data_identity_,
           .source = source_.has_value() ? &*source_ : nullptr,
           .say = [this](const std::string& line) { display_.Say(line); }},
          directory_.checkpoints(), saved_step, valid_loss));
  save_begun_ = MonotonicTime();
  return absl::OkStatus();
}

// One rank measures one core while the others wait; ranks that share cores
// cannot use more than there are.
absl::Status TrainingRun::MeasurePeak() {
  double peak =
      runtime_.rank() == 0 ? PeakFlopsPerCore(ComputeDType(config_)) : 0;
  double cores = std::min<double>(
      config_.run().threads(), static_cast<double>(runtime_.node_cores()) /
                                   static_cast<double>(runtime_.local_size()));
  ProcessGroup& world = groups_->world();
  RETURN_IF_ERROR(
      world.Broadcast(ViewOf(absl::MakeSpan(&peak, 1)), /*root=*/0));
  RETURN_IF_ERROR(
      world.AllReduce(ViewOf(absl::MakeSpan(&cores, 1)), ReduceOp::kSum));
  peak_flops_ = peak * cores;
  return absl::OkStatus();
}

absl::Status TrainingRun::Train() {
  const absl::Status status = Loop();
  // Not finite: all ranks know, and the weights are those before the step.
  if (absl::IsOutOfRange(status)) return SaveAfterFailure(status);
  if (!status.ok() && !IsAgreed(status)) return status;
  // Whatever ended the steps, all ranks know of it and can save together.
  const bool stopped = absl::IsCancelled(status);
  const absl::Status saved = SaveAtEnd();
  // That it stopped as asked says that everything is saved.
  return status.ok() || (stopped && !saved.ok()) ? saved : status;
}

absl::Status TrainingRun::Loop() {
  logged_ = {.step = trainer_->step(),
             .samples = trainer_->consumed_samples(),
             .at = MonotonicTime(),
             .waited = TimeWaited()};
  TakePhaseTimes();
  if (logged_.step >= last_step_) {
    display_.Say(absl::StrCat("nothing to train: step ", logged_.step, " of ",
                              last_step_, " is done"));
  }
  for (int64_t step = logged_.step + 1; step <= last_step_; ++step) {
    if (StopSignalReceived() || TimeIsOver()) trainer_->RequestStop();
    if (SaveTimeIsOver()) trainer_->RequestSave();
    RETURN_IF_ERROR(trace_->BeforeStep(step));
    ASSIGN_OR_RETURN(const StepReport report, trainer_->TrainStep());
    if (report.skipped) SaySkipped(report);
    const bool last = step == last_step_ || report.stop_requested;
    RETURN_IF_ERROR(WriteTrace(step, last));
    const bool validates = Validates(report, last);
    if (last || validates || report.skipped ||
        IsDue(config_.log().interval_steps(), step))
      RETURN_IF_ERROR(Log(report, validates));
    if (!last) RETURN_IF_ERROR(Save(report));
    if (report.stop_requested && step < last_step_) {
      return AgreeOnStatus(
          absl::CancelledError(absl::StrCat("stopped as asked after step ",
                                            step, " of ", last_step_)),
          groups_->world());
    }
  }
  return absl::OkStatus();
}

bool TrainingRun::Validates(const StepReport& report, bool last) const {
  const int64_t interval = config_.eval().interval_steps();
  return corpus_->valid() != nullptr && interval > 0 &&
         !report.stop_requested &&  // who stops a run waits for its weights
         (last || IsDue(interval, report.step));
}

// A disk that refuses a trace does not end the run.
absl::Status TrainingRun::WriteTrace(int64_t step, bool last) {
  bool written = false;
  const absl::Status status = trace_->AfterStep(step, last, &written);
  if (!status.ok() && !IsAgreed(status)) return status;
  if (!status.ok()) display_.Say(absl::StrCat("no trace: ", status.message()));
  if (written)
    display_.Say(absl::StrCat("the trace is in ", directory_.trace()));
  return absl::OkStatus();
}

bool TrainingRun::TimeIsOver() const {
  const double limit = config_.schedule().stop_after_seconds();
  return limit > 0 && MonotonicTime() - started_ > absl::Seconds(limit);
}

bool TrainingRun::SaveTimeIsOver() const {
  const double interval = config_.checkpoint().interval_seconds();
  return runtime_.rank() == 0 && interval > 0 &&
         MonotonicTime() - save_begun_ > absl::Seconds(interval);
}

// The metrics up to here are durable before the checkpoint is.
absl::Status TrainingRun::Save(const StepReport& report) {
  const bool due = report.save_requested ||
                   IsDue(config_.checkpoint().interval_steps(), report.step);
  if (due) save_begun_ = MonotonicTime();
  if (due && metrics_ != nullptr && metrics_status_.ok())
    metrics_status_ = metrics_->Sync();
  return saver_->AfterStep(due);
}

bool TrainingRun::IsDue(int64_t interval, int64_t step) const {
  return interval > 0 && step % interval == 0;
}

// Also where all ranks learn that the last line of metrics was refused.
absl::StatusOr<StepCost> TrainingRun::Cost(const StepReport& report) {
  const PhaseScope phase(Phase::kMetrics);
  const absl::Duration elapsed = MonotonicTime() - logged_.at;
  const auto steps = static_cast<double>(report.step - logged_.step);
  ProcessGroup& world = groups_->world();
  std::array<int64_t, 2> most = {ResidentBytes(), metrics_status_.ok() ? 0 : 1};
  RETURN_IF_ERROR(
      world.AllReduce(ViewOf(absl::MakeSpan(most)), ReduceOp::kMax));
  if (most[1] > 0) RETURN_IF_ERROR(AgreeOnStatus(metrics_status_, world));
  StepCost cost;
  cost.memory_bytes = most[0];
  cost.step_seconds = absl::ToDoubleSeconds(elapsed) / steps;
  const int64_t tokens = (trainer_->consumed_samples() - logged_.samples) *
                         config_.batch().sequence_length();
  cost.tokens_per_second =
      static_cast<double>(tokens) / absl::ToDoubleSeconds(elapsed);
  cost.mfu =
      cost.tokens_per_second *
      ModelFlopsPerToken(config_.model(), config_.batch().sequence_length()) /
      peak_flops_;
  const absl::Duration waited = TimeWaited();
  ASSIGN_OR_RETURN(
      cost.straggler,
      FindStraggler(absl::ToDoubleSeconds(waited - logged_.waited) / steps,
                    world));
  logged_.waited = waited;
  ASSIGN_OR_RETURN(cost.phase_shares, FindPhaseShares(TakePhaseTimes(), world));
  cost.checkpoint_seconds = absl::ToDoubleSeconds(saver_->TakeStandstill());
  return cost;
}

void TrainingRun::SaySkipped(const StepReport& report) {
  display_.Say(absl::StrCat(Describe(*trainer_->non_finite()), "; skipped (",
                            report.skipped_steps, " of at most ",
                            config_.optimizer().max_skipped_steps(), ")"));
}

absl::Status TrainingRun::Log(const StepReport& report, bool validates) {
  ASSIGN_OR_RETURN(StepCost cost, Cost(report));
  if (validates) {
    ASSIGN_OR_RETURN(cost.valid_loss,
                     trainer_->ValidationLoss(config_.eval().batches()));
    saver_->NoteValidLoss(*cost.valid_loss);
    if (!std::isfinite(*cost.valid_loss)) {
      const std::string why =
          trainer_->validation_has_targets()
              ? absl::StrCat(" finite validation loss (", *cost.valid_loss, ")")
              : " validation loss (what is validated on has no target)";
      display_.Say(absl::StrCat("step ", report.step, " has no", why,
                                ": no checkpoint of it counts as the best"));
    }
  }
  display_.Step(report, cost, last_step_);
  if (metrics_ != nullptr && metrics_status_.ok())
    metrics_status_ = metrics_->Write(report, cost);
  logged_.step = report.step;
  logged_.samples = trainer_->consumed_samples();
  logged_.at = MonotonicTime();
  return absl::OkStatus();
}

absl::Status TrainingRun::SaveAtEnd() {
  // The state first: refused metrics must not cost it.
  ASSIGN_OR_RETURN(const std::string saved, saver_->SaveLast());
  display_.Say(absl::StrCat(
      saver_->has_begun_any() ? "saved in " : "the state is in ", saved));
  if (metrics_ != nullptr && metrics_status_.ok())
    metrics_status_ = metrics_->Sync();
  if (metrics_ != nullptr && metrics_status_.ok())
    metrics_status_ = metrics_->Close();
  return AgreeOnStatus(metrics_status_, groups_->world());
}

absl::Status TrainingRun::SaveAfterFailure(const absl::Status& failure) {
  ProcessGroup& world = groups_->world();
  absl::Status status;
  if (world.rank() == 0) {
    status = SaveFailure(files_, directory_.failure(),
                         {.message = failure.message(),
                          .what = *trainer_->non_finite(),
                          .config = config_,
                          .mesh = *mesh_,
                          .samples = corpus_->train(),
                          .consumed_samples = trainer_->consumed_samples(),
                          .skipped_steps = trainer_->skipped_steps()});
  }
  status = AgreeOnStatus(status, world);
  if (status.ok())
    status = saver_->SaveElsewhere(directory_.failure()).status();
  const std::string saved =
      status.ok() ? absl::StrCat("; its batch and the state before it are in ",
                                 directory_.failure())
                  : absl::StrCat("; saving its batch and state failed: ",
                                 status.message());
  return AgreeOnStatus(
      absl::OutOfRangeError(absl::StrCat(failure.message(), saved)), world);
}

}  // namespace moe
