#include "trainer/step/trainer.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

#include "absl/strings/str_cat.h"
#include "comm/activity.h"
#include "comm/base/status_macros.h"
#include "trainer/checkpoint/store/restore.h"
#include "trainer/config/config_resolve.h"
#include "trainer/step/batch_digest.h"
#include "trainer/step/learning_rate.h"
#include "trainer/step/step_totals.h"

namespace moe {
namespace {

bool IsFinite(const LossTerms& losses) {
  return std::isfinite(losses.cross_entropy) && std::isfinite(losses.aux) &&
         std::isfinite(losses.z);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Trainer>> Trainer::Create(
    const TrainConfig& config, const Environment& environment,
    const TrainingStart& start) {
  std::unique_ptr<Trainer> trainer(new Trainer(config, environment, start));
  RETURN_IF_ERROR(trainer->Allocate());
  trainer->StartReading();
  RETURN_IF_ERROR(trainer->Initialize(start));
  return trainer;
}

absl::StatusOr<std::unique_ptr<Trainer>> Trainer::CreateUninitialised(
    const TrainConfig& config, const Environment& environment) {
  std::unique_ptr<Trainer> trainer(new Trainer(config, environment, {}));
  RETURN_IF_ERROR(trainer->Allocate());
  return trainer;
}

Trainer::Trainer(const TrainConfig& config, const Environment& environment,
                 const TrainingStart& start)
    : config_(config),
      environment_(environment),
      table_(config.model(), ComputeDType(config), environment.mesh,
             environment.groups.world().rank(), environment.trained),
      plan_(config.batch().global_size(), config.batch().micro_size(),
            environment.mesh.data()),
      shards_(MakeShardMaps(table_, environment.mesh,
                            config.parallel().bucket_elements())),
      length_(config, {.step = start.step, .samples = start.consumed_samples},
              start.batch_changes),
      routing_(config.model().num_hidden_layers(),
               config.model().num_local_experts(),
               config.model().num_experts_per_tok()),
      step_(start.step),
      consumed_samples_(start.consumed_samples),
      skipped_steps_(start.skipped_steps) {}

absl::Status Trainer::Allocate() {
  RETURN_IF_ERROR(table_.CheckTrained());
  const Environment& env = environment_;
  ASSIGN_OR_RETURN(weight_storage_,
                   ParameterStorage::AllocateWeights(
                       table_, environment_.kernels.context()));
  ASSIGN_OR_RETURN(gradient_storage_,
                   ParameterStorage::AllocateGradients(
                       table_, environment_.kernels.context()));
  weights_ = BindWeights(config_.model(), table_, weight_storage_);
  gradients_ = BindWeights(config_.model(), table_, gradient_storage_);
  const LanguageModel::Options options{
      .model = config_.model(),
      .router = config_.router(),
      .compute_dtype = ComputeDType(config_),
      .max_length = config_.batch().sequence_length(),
      .recompute = RecomputeOf(config_),
      .max_expert_rows = MaxExpertRows(config_)};
  ASSIGN_OR_RETURN(
      model_, LanguageModel::Create(options, table_, env.groups, env.kernels));
  reducer_ = std::make_unique<GradientReducer>(table_, env.groups, shards_,
                                               gradient_storage_);
  ASSIGN_OR_RETURN(optimizer_,
                   ShardedAdamW::Create(config_.optimizer(), table_, env.groups,
                                        shards_, weight_storage_, env.kernels));
  return absl::OkStatus();
}

void Trainer::StartReading() {
  const Environment& env = environment_;
  const int64_t length = config_.batch().sequence_length();
  const bool reset_attention = config_.data().reset_attention();
  loader_ = std::make_unique<BatchLoader>(env.train, length, reset_attention);
  if (env.valid != nullptr)
    valid_loader_ =
        std::make_unique<BatchLoader>(*env.valid, length, reset_attention);

  const BatchPlan::Range mine = plan_.OfRank(env.groups[Axis::kData].rank());
  loader_->Prepare(consumed_samples_ + mine.begin, mine.count);
}

absl::Status Trainer::Initialize(const TrainingStart& start) {
  RETURN_IF_ERROR(optimizer_->Initialize(
      [&](ArenaKind kind, int64_t begin, absl::Span<float> out) {
        if (start.weights != nullptr)
          return ReadArena(*start.weights, table_, kind, begin, out);
        InitialArena(config_.model(), table_, kind, config_.run().seed(), begin,
                     out);
        return absl::OkStatus();
      }));
  if (start.moments == nullptr) return absl::OkStatus();
  return AgreeOnStatus(ReadMoments(*start.moments, *optimizer_),
                       environment_.groups.world());
}

// tokens -> forward -> backward, gradients reduced while the last one runs ->
// clip -> AdamW. How forward and backward go through the network's parts is in
// LanguageModel; what follows a step, from metrics to checkpoints, in
// TrainingRun::Loop.
absl::StatusOr<StepReport> Trainer::TrainStep() {
  SetStep(step_ + 1);
  PhaseScope phase(Phase::kData);
  const absl::StatusOr<TokenBlock> taken = TakeTokens();
  batch_digest_ = taken.ok() ? DigestOf(*taken) : 0;
  return StepOn(taken, phase);
}

absl::StatusOr<StepReport> Trainer::TrainStepOn(const TokenBlock& tokens) {
  SetStep(step_ + 1);
  PhaseScope phase(Phase::kData);
  batch_digest_ = 0;
  return StepOn(tokens, phase);
}

// When the data of a rank fail its tensor group, whose sums want the same
// tokens of all, goes on without any until SumOverWorld, where all ranks learn
// of it together.
absl::StatusOr<StepReport> Trainer::StepOn(
    const absl::StatusOr<TokenBlock>& taken, PhaseScope& phase) {
  data_status_ =
      AgreeOnStatus(taken.status(), environment_.groups[Axis::kTensor]);
  ASSIGN_OR_RETURN(
      const StepTokens tokens,
      UploadTokens(tokens_, data_status_.ok() ? *taken : TokenBlock{}));
  ASSIGN_OR_RETURN(const int64_t targets, CountTargets(tokens.host));
  ClearGradients();
  routing_.Clear();
  LossTerms losses;
  for (int micro = 0; micro < plan_.num_micro_steps(); ++micro) {
    const MicroBatch batch =
        MakeMicroBatch(plan_, micro, tokens, plan_.global_size(), targets);
    const bool last = micro + 1 == plan_.num_micro_steps();
    RETURN_IF_ERROR(ForwardBackward(batch, last, losses));
  }
  phase.Enter(Phase::kSumOfGradients);
  RETURN_IF_ERROR(reducer_->Finish());

  phase.Enter(Phase::kSumOfLosses);
  ASSIGN_OR_RETURN(StepReport report, SumOverWorld(losses));
  report.has_targets = targets > 0;
  if (IsFinite(report.losses) && std::isfinite(report.grad_norm)) {
    const double scale =
        ClipScale(report.grad_norm, config_.optimizer().clip_norm());
    phase.Enter(Phase::kOptimizer);
    RETURN_IF_ERROR(optimizer_->Step(gradient_storage_, report.learning_rate,
                                     scale, report.step - skipped_steps_));
  } else {
    phase.Enter(Phase::kNonFiniteSearch);
    RETURN_IF_ERROR(SkipOrFail(report, tokens, targets));
  }
  report.skipped_steps = skipped_steps_;
  step_ = report.step;
  consumed_samples_ += plan_.global_size();
  return report;
}

// This step's sequences of this rank, and the next step's on their way.
absl::StatusOr<TokenBlock> Trainer::TakeTokens() {
  absl::StatusOr<TokenBlock> tokens = loader_->Take();
  const BatchPlan::Range mine =
      plan_.OfRank(environment_.groups[Axis::kData].rank());
  loader_->Prepare(consumed_samples_ + plan_.global_size() + mine.begin,
                   mine.count);
  return tokens;
}

// Of the whole step, before its first backward. A number that the configuration
// gives, unless documents stand apart. The ranks of a tensor group have the
// same tokens, so that a data group has each of them once.
absl::StatusOr<int64_t> Trainer::CountTargets(const TokenBlock& tokens) {
  if (!config_.data().reset_attention())
    return plan_.global_size() * config_.batch().sequence_length();
  int64_t targets = tokens.num_targets;
  RETURN_IF_ERROR(
      Annotate(environment_.groups[Axis::kData].AllReduce(
                   ViewOf(absl::MakeSpan(&targets, 1)), ReduceOp::kSum),
               "number of targets"));
  return targets;
}

MicroBatch Trainer::MakeMicroBatch(const BatchPlan& plan, int micro_step,
                                   const StepTokens& tokens,
                                   int64_t global_sequences,
                                   int64_t global_targets) {
  const int64_t length = config_.batch().sequence_length();
  const int rank = environment_.groups[Axis::kData].rank();
  BatchPlan::Range range = plan.OfMicroStep(rank, micro_step);
  range.begin -= plan.OfRank(rank).begin;
  if (tokens.host.count == 0) range = {};
  const int64_t begin = range.begin * length;
  const int64_t count = range.count * length;
  return {.inputs_S = tokens.inputs.Rows(begin, count),
          .targets_S = tokens.targets.Rows(begin, count),
          .length = length,
          .positions_S = tokens.positions.is_null()
                             ? Tensor()
                             : tokens.positions.Rows(begin, count),
          .scale = {.global_tokens = global_sequences * length,
                    .global_targets = global_targets,
                    .global_sequences = global_sequences,
                    .micro_sequences = plan.SequencesInMicroStep(micro_step)}};
}

void Trainer::ClearGradients() {
  for (ArenaKind kind : kTrainedArenaKinds)
    environment_.kernels.SetZero(gradient_storage_.arena(kind));
}

absl::Status Trainer::ForwardBackward(const MicroBatch& batch, bool last,
                                      LossTerms& losses) {
  RETURN_IF_ERROR(
      model_->Forward(pass_, &losses, batch, weights_, &gradients_));
  routing_.Add(pass_);
  if (!last) return model_->Backward(pass_, weights_, gradients_, nullptr);
  const ProgressScope progress(environment_.kernels,
                               [this] { reducer_->Progress(); });
  return model_->Backward(pass_, weights_, gradients_, reducer_.get());
}

// The ranks of a tensor group have the same sequences: one counts them.
uint64_t Trainer::DigestOf(const TokenBlock& tokens) const {
  if (environment_.groups[Axis::kTensor].rank() != 0) return 0;
  const int rank = environment_.groups[Axis::kData].rank();
  return BatchDigest(consumed_samples_ + plan_.OfRank(rank).begin, tokens);
}

absl::StatusOr<StepReport> Trainer::SumOverWorld(const LossTerms& losses) {
  const absl::Span<double> routing = routing_.totals();
  totals_.resize(kNumStepTotals);
  totals_[kCrossEntropy] = losses.cross_entropy;
  totals_[kAuxLoss] = losses.aux;
  totals_[kZLoss] = losses.z;
  ASSIGN_OR_RETURN(totals_[kSumOfSquares],
                   optimizer_->SumOfSquares(gradient_storage_));
  totals_[kFailedReads] = data_status_.ok() ? 0 : 1;
  totals_[kStopRequests] = stop_requested_ ? 1 : 0;
  totals_[kSaveRequests] = save_requested_ ? 1 : 0;
  totals_[kBatchDigest] = static_cast<double>(batch_digest_);
  save_requested_ = false;
  totals_.insert(totals_.end(), routing.begin(), routing.end());
  ProcessGroup& world = environment_.groups.world();
  RETURN_IF_ERROR(
      Annotate(world.AllReduce(ViewOf(absl::MakeSpan(totals_)), ReduceOp::kSum),
               "sum of losses"));
  if (totals_[kFailedReads] > 0) {
    RETURN_IF_ERROR(AgreeOnStatus(data_status_, world));
  }
  std::copy(totals_.begin() + kNumStepTotals, totals_.end(), routing.begin());

  StepReport report;
  report.step = step_ + 1;
  report.tokens = (consumed_samples_ + plan_.global_size()) *
                  config_.batch().sequence_length();
  report.losses = {.cross_entropy = totals_[kCrossEntropy],
                   .aux = totals_[kAuxLoss],
                   .z = totals_[kZLoss]};
  report.grad_norm = std::sqrt(totals_[kSumOfSquares]);
  report.learning_rate = LearningRate(config_.schedule(), config_.optimizer(),
                                      length_, report.step);
  report.batch_digest = SumOfBatchDigests(totals_[kBatchDigest]);
  report.layers = routing_.Layers();
  report.stop_requested = totals_[kStopRequests] > 0;
  report.save_requested = totals_[kSaveRequests] > 0;
  return report;
}

// All ranks decide alike: by sums, numbers and a search that they share.
absl::Status Trainer::SkipOrFail(StepReport& report, const StepTokens& tokens,
                                 int64_t targets) {
  const bool in_loss = !IsFinite(report.losses);
  ASSIGN_OR_RETURN(non_finite_, FindNonFinite(in_loss, tokens, targets));
  non_finite_->step = report.step;
  const int64_t most = config_.optimizer().max_skipped_steps();
  if (skipped_steps_ < most && !non_finite_->weights.has_value()) {
    ++skipped_steps_;
    report.skipped = true;
    return absl::OkStatus();
  }
  std::string message = Describe(*non_finite_);
  if (skipped_steps_ < most) {
    absl::StrAppend(&message, ", which skipping the step would not mend");
  } else if (most > 0) {
    absl::StrAppend(&message, "; steps skipped before: ", skipped_steps_,
                    ", optimizer.max_skipped_steps is ", most);
  }
  return AgreeOnStatus(absl::OutOfRangeError(message),
                       environment_.groups.world());
}

absl::StatusOr<NonFinite> Trainer::FindNonFinite(bool in_loss,
                                                 const StepTokens& tokens,
                                                 int64_t targets) {
  NonFiniteSearch search(table_, gradient_storage_, environment_.kernels);
  RETURN_IF_ERROR(search.LookAtWeights(weight_storage_));
  if (!in_loss) {
    ASSIGN_OR_RETURN(const NonFiniteElement element,
                     optimizer_->FirstNonFinite(gradient_storage_));
    search.LookAtSum(element);
  }
  pass_.observer = &search;
  const absl::Status status = ComputeAgain(search, in_loss, tokens, targets);
  pass_.observer = nullptr;
  RETURN_IF_ERROR(status);
  ASSIGN_OR_RETURN(NonFinite found, search.Agree(environment_.groups.world()));
  found.in_loss = in_loss;
  return found;
}

// The step's passes, each rank's gradients on their own.
absl::Status Trainer::ComputeAgain(NonFiniteSearch& search, bool in_loss,
                                   const StepTokens& tokens, int64_t targets) {
  ClearGradients();
  for (int micro = 0; micro < plan_.num_micro_steps(); ++micro) {
    const MicroBatch batch =
        MakeMicroBatch(plan_, micro, tokens, plan_.global_size(), targets);
    LossTerms losses;
    search.BeginMicroStep(micro);
    RETURN_IF_ERROR(model_->Forward(pass_, &losses, batch, weights_,
                                    in_loss ? nullptr : &gradients_));
    search.LookAtLosses(losses);
    if (in_loss) continue;
    RETURN_IF_ERROR(model_->Backward(pass_, weights_, gradients_, &search));
  }
  return absl::OkStatus();
}

absl::StatusOr<double> Trainer::ValidationLoss(int64_t batches) {
  const PhaseScope phase(Phase::kValidation);
  const int64_t global_size = plan_.global_size();
  int64_t sequences = environment_.valid->samples_per_epoch();
  if (batches > 0) sequences = std::min(sequences, batches * global_size);
  const int rank = environment_.groups[Axis::kData].rank();
  LossTerms losses;
  int64_t targets = 0;
  absl::Status status;
  for (int64_t begin = 0; begin < sequences; begin += global_size) {
    const BatchPlan plan(std::min(global_size, sequences - begin),
                         config_.batch().micro_size(),
                         environment_.mesh.data());
    const BatchPlan::Range mine = plan.OfRank(rank);
    valid_loader_->Prepare(begin + mine.begin, mine.count);
    absl::StatusOr<TokenBlock> tokens = valid_loader_->Take();
    const absl::Status read =
        AgreeOnStatus(tokens.status(), environment_.groups[Axis::kTensor]);
    if (status.ok()) status = read;
    if (read.ok()) targets += tokens->num_targets;
    ASSIGN_OR_RETURN(const StepTokens uploaded,
                     UploadTokens(tokens_, read.ok() ? *tokens : TokenBlock{}));
    for (int micro = 0; micro < plan.num_micro_steps(); ++micro) {
      // Divided by 1: how many targets there are is known when all are read.
      const MicroBatch batch = MakeMicroBatch(plan, micro, uploaded, sequences,
                                              /*global_targets=*/1);
      RETURN_IF_ERROR(
          model_->Forward(pass_, &losses, batch, weights_, nullptr));
    }
  }
  ProcessGroup& world = environment_.groups.world();
  RETURN_IF_ERROR(AgreeOnStatus(status, world));
  // The ranks of a tensor group have the same targets: one counts them.
  const bool counts = environment_.groups[Axis::kTensor].rank() == 0;
  std::array<double, 2> sums = {losses.cross_entropy,
                                counts ? static_cast<double>(targets) : 0.0};
  RETURN_IF_ERROR(
      world.AllReduce(ViewOf(absl::MakeSpan(sums)), ReduceOp::kSum));
  validation_has_targets_ = sums[1] > 0;
  return validation_has_targets_ ? sums[0] / sums[1]
                                 : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace moe
