#include "trainer/training_run.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "comm/activity.h"
#include "comm/status_macros.h"
#include "data/corpus_source.h"
#include "moe/model_config.h"
#include "trainer/checkpoint/checkpoint_directory.h"
#include "trainer/config_resolve.h"
#include "trainer/failure_report.h"
#include "trainer/machine.h"
#include "trainer/memory_check.h"
#include "trainer/rank_zero_work.h"
#include "trainer/stop_signal.h"
#include "trainer/units.h"

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
      num_steps_(config.schedule().steps()),
      started_(absl::Now()),
      display_(runtime.rank() == 0, ErrorsGoToTerminal()) {}

absl::Status TrainingRun::Start() {
  ASSIGN_OR_RETURN(mesh_,
                   Mesh::Create(runtime_.world(), config_.parallel().tensor(),
                                config_.parallel().expert(),
                                config_.model().num_local_experts()));
  ASSIGN_OR_RETURN(groups_, ProcessGroups::Create(runtime_, *mesh_));
  ProcessGroup& world = groups_->world();
  InstallStopSignals();
  RETURN_IF_ERROR(world.Barrier());
  if (world.rank() == 0) ReportStopSignalsHandled();
  RETURN_IF_ERROR(
      AgreeOnStatus(CheckMemory(config_, *mesh_, runtime_.local_size(),
                                FindAvailableMemory()),
                    world));
  // Before anything is made, so that a mistyped path leaves nothing behind.
  RETURN_IF_ERROR(AgreeOnStatus(world.rank() == 0
                                    ? FindSources(DataOptions()).status()
                                    : absl::OkStatus(),
                                world));
  const auto say = [this](const std::string& line) { display_.Say(line); };
  ASSIGN_OR_RETURN(locks_, ClaimRunDirectory(files_, directory_, config_, world,
                                             {.say = say}));
  ASSIGN_OR_RETURN(
      const RunStart start,
      ChooseStart(options_, config_, directory_, files_, world, say));
  RETURN_IF_ERROR(OpenData());
  RETURN_IF_ERROR(AgreeOnStatus(
      CheckSameData(start, *corpus_, config_.data().add_bos()), world));
  RETURN_IF_ERROR(AgreeOnStatus(BuildTrainer(start), world));
  RETURN_IF_ERROR(MeasurePeak());
  SayWhatIsTrained();
  ASSIGN_OR_RETURN(const StepRange traced,
                   ParseStepRange(config_.log().trace_steps()));
  trace_.emplace(traced, files_, directory_.trace(), world);
  return OpenMetrics();
}

absl::Status TrainingRun::OpenMetrics() {
  absl::Status status;
  if (metrics_ == nullptr && runtime_.rank() == 0) {
    absl::StatusOr<std::unique_ptr<MetricsLog>> metrics =
        MetricsLog::Open(files_, directory_.metrics(), trainer_->step());
    status = metrics.status();
    if (metrics.ok()) metrics_ = *std::move(metrics);
  }
  return AgreeOnStatus(status, groups_->world());
}

CorpusOptions TrainingRun::DataOptions() const {
  return {.config = config_.data(),
          .vocab_size = config_.model().vocab_size(),
          .sequence_length = config_.batch().sequence_length(),
          .seed = config_.run().seed(),
          .cache_directory = directory_.data(),
          .share_directory = share_directory_,
          .threads = AvailableCores()};
}

absl::Status TrainingRun::OpenData() {
  const CorpusOptions options = DataOptions();
  ProcessGroup& world = groups_->world();
  RETURN_IF_ERROR(RunOnRankZero(
      [&] {
        return PrepareCorpus(options, [this](const std::string& what,
                                             int64_t done, int64_t total) {
          display_.Preparation(what, done, total);
        });
      },
      world));
  absl::StatusOr<std::unique_ptr<Corpus>> corpus = Corpus::Open(options);
  RETURN_IF_ERROR(AgreeOnStatus(corpus.status(), world));
  corpus_ = *std::move(corpus);
  return CheckEnoughData();
}

absl::Status TrainingRun::CheckEnoughData() const {
  const int64_t samples = corpus_->train().samples_per_epoch();
  const int64_t batch = config_.batch().global_size();
  absl::Status status;
  if (samples < batch) {
    status = absl::FailedPreconditionError(absl::StrCat(
        "data.train holds ", samples, " sequences of batch.sequence_length (",
        config_.batch().sequence_length(),
        ") tokens, must be at least one batch: batch.global_size is ", batch));
  }
  return AgreeOnStatus(status, groups_->world());
}

absl::Status TrainingRun::BuildTrainer(const RunStart& start) {
  kernels_ = MakeKernelContext(config_.run().threads());
  RETURN_IF_ERROR(AgreeOnStatus(KernelStatus(*kernels_), groups_->world()));
  ASSIGN_OR_RETURN(trainer_, Trainer::Create(config_,
                                             {.mesh = *mesh_,
                                              .groups = *groups_,
                                              .kernels = *kernels_,
                                              .train = corpus_->train(),
                                              .valid = corpus_->valid()},
                                             start.training()));
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
           .say = [this](const std::string& line) { display_.Say(line); }},
          directory_.checkpoints(), saved_step, valid_loss));
  save_begun_ = absl::Now();
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

void TrainingRun::SayWhatIsTrained() {
  const ParameterCounts counts = CountParameters(config_.model());
  const RouterConfig& router = config_.router();
  display_.Say(absl::StrCat("training ", WithCommas(counts.total),
                            " parameters (", WithCommas(counts.active),
                            " active for a token) on ", mesh_->ToString()));
  display_.Say(absl::StrFormat(
      "%s steps of %s tokens; auxiliary loss %s over a %s, %.3g at balance",
      WithCommas(num_steps_),
      WithCommas(int64_t{config_.batch().global_size()} *
                 config_.batch().sequence_length()),
      RouterConfig::AuxLossSemantics_Name(router.aux_loss_semantics()),
      RouterConfig::AuxLossScope_Name(router.aux_loss_scope()),
      AuxLossAtBalance(config_.model(), router)));
  if (router.capacity_factor() == 0) return;
  display_.Say(absl::StrFormat(
      "capacity %s rows of each expert a sequence, others dropped by %s",
      WithCommas(ExpertCapacity(config_.model(), router,
                                config_.batch().sequence_length())),
      RouterConfig::DropPolicy_Name(router.drop_policy())));
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
  logged_ = {
      .step = trainer_->step(), .at = absl::Now(), .waited = TimeWaited()};
  TakeStageTimes();
  if (logged_.step >= num_steps_) {
    display_.Say(absl::StrCat("nothing to train: step ", logged_.step, " of ",
                              num_steps_, " is done"));
  }
  for (int64_t step = logged_.step + 1; step <= num_steps_; ++step) {
    if (StopSignalReceived() || TimeIsOver()) trainer_->RequestStop();
    if (SaveTimeIsOver()) trainer_->RequestSave();
    RETURN_IF_ERROR(trace_->BeforeStep(step));
    ASSIGN_OR_RETURN(const StepReport report, trainer_->TrainStep());
    if (report.skipped) SaySkipped(report);
    const bool last = step == num_steps_ || report.stop_requested;
    RETURN_IF_ERROR(WriteTrace(step, last));
    const bool validates = Validates(report, last);
    if (last || validates || report.skipped ||
        IsDue(config_.log().interval_steps(), step))
      RETURN_IF_ERROR(Log(report, validates));
    if (!last) RETURN_IF_ERROR(Save(report));
    if (report.stop_requested && step < num_steps_) {
      return AgreeOnStatus(
          absl::CancelledError(absl::StrCat("stopped as asked after step ",
                                            step, " of ", num_steps_)),
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
  return limit > 0 && absl::Now() - started_ > absl::Seconds(limit);
}

bool TrainingRun::SaveTimeIsOver() const {
  const double interval = config_.checkpoint().interval_seconds();
  return runtime_.rank() == 0 && interval > 0 &&
         absl::Now() - save_begun_ > absl::Seconds(interval);
}

// The metrics up to here are durable before the checkpoint is.
absl::Status TrainingRun::Save(const StepReport& report) {
  const bool due = report.save_requested ||
                   IsDue(config_.checkpoint().interval_steps(), report.step);
  if (due) save_begun_ = absl::Now();
  if (due && metrics_ != nullptr && metrics_status_.ok())
    metrics_status_ = metrics_->Sync();
  return saver_->AfterStep(due);
}

bool TrainingRun::IsDue(int64_t interval, int64_t step) const {
  return interval > 0 && step % interval == 0;
}

// Also where all ranks learn that the last line of metrics was refused.
absl::StatusOr<StepCost> TrainingRun::Cost(const StepReport& report) {
  const StageScope stage("metrics");
  const absl::Duration elapsed = absl::Now() - logged_.at;
  const auto steps = static_cast<double>(report.step - logged_.step);
  ProcessGroup& world = groups_->world();
  std::array<int64_t, 2> most = {ResidentBytes(), metrics_status_.ok() ? 0 : 1};
  RETURN_IF_ERROR(
      world.AllReduce(ViewOf(absl::MakeSpan(most)), ReduceOp::kMax));
  if (most[1] > 0) RETURN_IF_ERROR(AgreeOnStatus(metrics_status_, world));
  StepCost cost;
  cost.memory_bytes = most[0];
  cost.step_seconds = absl::ToDoubleSeconds(elapsed) / steps;
  const double tokens =
      static_cast<double>(report.tokens) / static_cast<double>(report.step);
  cost.tokens_per_second = tokens / cost.step_seconds;
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
  ASSIGN_OR_RETURN(cost.stage_shares, FindStageShares(TakeStageTimes(), world));
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
  }
  display_.Step(report, cost, num_steps_);
  if (metrics_ != nullptr && metrics_status_.ok())
    metrics_status_ = metrics_->Write(report, cost);
  logged_.step = report.step;
  logged_.at = absl::Now();
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
