#ifndef TRAINER_STEP_TRAINER_H_
#define TRAINER_STEP_TRAINER_H_

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "comm/activity.h"
#include "comm/mesh.h"
#include "comm/process_groups.h"
#include "data/batch_loader.h"
#include "data/corpus.h"
#include "moe/kernels.h"
#include "moe/layers/language_model.h"
#include "moe/layers/pass.h"
#include "moe/parameters/parameter_table.h"
#include "moe/parameters/weights.h"
#include "trainer/checkpoint/store/state_loader.h"
#include "trainer/checkpoint/store/weights_loader.h"
#include "trainer/config/batch_plan.h"
#include "trainer/config/run_length.h"
#include "trainer/config/train_config.pb.h"
#include "trainer/step/gradient_reducer.h"
#include "trainer/step/non_finite.h"
#include "trainer/step/non_finite_search.h"
#include "trainer/step/optimizer.h"
#include "trainer/step/routing_statistics.h"
#include "trainer/step/shard_map.h"
#include "trainer/step/step_tokens.h"

namespace moe {

// One step of the whole world, the same on all ranks.
struct StepReport {
  int64_t step = 0;    // the first is 1
  int64_t tokens = 0;  // consumed since the run began
  LossTerms losses;    // see LossTerms; cross_entropy is the loss
  // Without any target, where data.reset_attention leaves none, there is no
  // loss: cross_entropy is 0 then, a sum of nothing.
  bool has_targets = true;
  double grad_norm = 0;
  double learning_rate = 0;
  uint64_t batch_digest = 0;  // BatchDigest of all sequences
  std::vector<LayerRouting> layers;
  bool skipped = false;         // not finite, so that it changed no weights
  int64_t skipped_steps = 0;    // since the run began, with this one
  bool stop_requested = false;  // by any rank
  bool save_requested = false;  // by any rank
};

// Where training begins: by default anew, else with a checkpoint's state.
struct TrainingStart {
  int64_t step = 0;                             // steps done
  int64_t consumed_samples = 0;                 // of the training data
  int64_t skipped_steps = 0;                    // of those steps
  std::vector<RunPosition> batch_changes = {};  // see RunLength
  const WeightsLoader* weights = nullptr;       // null: InitialArena's
  const StateLoader* moments = nullptr;         // null: zero
};

// The training loop's inside: one rank's part of the model, its gradients, and
// its share of the optimizer. Writes no files.
class Trainer {
 public:
  struct Environment {
    const Mesh& mesh;
    const ProcessGroups& groups;
    Kernels& kernels;
    const SampleSequence& train;
    const SampleSequence* valid = nullptr;  // null: none
    // Which parameters are trained; the same on all ranks. Null: all.
    TrainedPredicate trained = nullptr;
  };
  // A resolved configuration that passed ValidateConfig. All that the
  // environment names outlives the trainer; the loaders are read here only.
  // InvalidArgument: see ParameterTable::CheckTrained. DataLoss: the moments
  // lack a parameter that is trained; those of a frozen one are not read.
  // Collective, but for running out of memory.
  static absl::StatusOr<std::unique_ptr<Trainer>> Create(
      const TrainConfig& config, const Environment& environment,
      const TrainingStart& start = {});
  // One for a plan, of which the shape of its steps matters: weights and
  // moments hold anything, and no data are read, so that of its functions
  // TrainStepOn alone computes. Not collective.
  static absl::StatusOr<std::unique_ptr<Trainer>> CreateUninitialised(
      const TrainConfig& config, const Environment& environment);

  // Collective. A step whose loss or gradient is not finite leaves weights and
  // moments as they were. Its batch counts as consumed and the report says
  // `skipped`, at most optimizer.max_skipped_steps times in a run. Beyond, or
  // when weights are not finite themselves, it is OutOfRange, the same status
  // on all ranks. non_finite says where it began; to know that, such a step is
  // computed twice. Errors of the data are agreed on likewise; any other is of
  // this rank alone.
  absl::StatusOr<StepReport> TrainStep();
  // The same on this rank's sequences given here, which kernels alone read: the
  // report has no digest of them.
  absl::StatusOr<StepReport> TrainStepOn(const TokenBlock& tokens);
  // Of the last step that was not finite, the same on all ranks.
  const std::optional<NonFinite>& non_finite() const { return non_finite_; }

  // The next report carries stop_requested on all ranks.
  void RequestStop() { stop_requested_ = true; }
  // The next report alone carries save_requested on all ranks.
  void RequestSave() { save_requested_ = true; }

  // Mean cross-entropy of the first `batches` batches of the validation
  // samples (0: all of them). NaN where they have no target; the network may
  // make it NaN or infinite too. Collective.
  absl::StatusOr<double> ValidationLoss(int64_t batches);
  // Whether what the last ValidationLoss read has a target.
  bool validation_has_targets() const { return validation_has_targets_; }

  const ParameterTable& table() const { return table_; }
  const LanguageModel& model() const { return *model_; }
  // Of the last micro-step.
  const Pass& pass() const { return pass_; }
  ShardedAdamW& optimizer() { return *optimizer_; }
  const GradientReducer& reducer() const { return *reducer_; }
  const ParameterStorage& weights() const { return weight_storage_; }
  // Of the last step: reduced, on this rank's slices only. After one that was
  // not finite: what the search for the cause left, this rank's own or zeros.
  const ParameterStorage& gradients() const { return gradient_storage_; }
  const ShardMaps& shards() const { return shards_; }
  // [layers, E]: the world's choices of each expert in the last step.
  absl::Span<const double> expert_counts() const { return routing_.counts(); }
  int64_t step() const { return step_; }
  int64_t consumed_samples() const { return consumed_samples_; }
  int64_t skipped_steps() const { return skipped_steps_; }
  // As it is from where training began here.
  const RunLength& length() const { return length_; }

 private:
  Trainer(const TrainConfig& config, const Environment& environment,
          const TrainingStart& start);

  absl::Status Allocate();
  void StartReading();
  absl::Status Initialize(const TrainingStart& start);
  absl::StatusOr<TokenBlock> TakeTokens();
  // The rest of a step, in whose first phase the caller is.
  absl::StatusOr<StepReport> StepOn(const absl::StatusOr<TokenBlock>& taken,
                                    PhaseScope& phase);
  absl::StatusOr<int64_t> CountTargets(const TokenBlock& tokens);
  MicroBatch MakeMicroBatch(const BatchPlan& plan, int micro_step,
                            const StepTokens& tokens, int64_t global_sequences,
                            int64_t global_targets);
  void ClearGradients();
  absl::Status ForwardBackward(const MicroBatch& batch, bool last,
                               LossTerms& losses);
  uint64_t DigestOf(const TokenBlock& tokens) const;
  absl::StatusOr<StepReport> SumOverWorld(const LossTerms& losses);
  absl::Status SkipOrFail(StepReport& report, const StepTokens& tokens,
                          int64_t targets);
  absl::StatusOr<NonFinite> FindNonFinite(bool in_loss,
                                          const StepTokens& tokens,
                                          int64_t targets);
  absl::Status ComputeAgain(NonFiniteSearch& search, bool in_loss,
                            const StepTokens& tokens, int64_t targets);

  const TrainConfig config_;
  const Environment environment_;
  const ParameterTable table_;
  const BatchPlan plan_;
  const ShardMaps shards_;
  const RunLength length_;
  ParameterStorage weight_storage_;
  ParameterStorage gradient_storage_;
  ModelWeights weights_;
  ModelWeights gradients_;
  std::unique_ptr<LanguageModel> model_;
  Arena scratch_{environment_.kernels.context()};
  Pass pass_{scratch_};
  Arena tokens_{environment_.kernels.context()};
  std::unique_ptr<GradientReducer> reducer_;
  std::unique_ptr<ShardedAdamW> optimizer_;
  std::unique_ptr<BatchLoader> loader_;
  std::unique_ptr<BatchLoader> valid_loader_;
  RoutingStatistics routing_;
  std::vector<double> totals_;
  uint64_t batch_digest_ = 0;  // of this rank's sequences of the step
  int64_t step_;
  int64_t consumed_samples_;
  int64_t skipped_steps_;
  bool stop_requested_ = false;
  bool save_requested_ = false;
  bool validation_has_targets_ = true;
  absl::Status data_status_;
  std::optional<NonFinite> non_finite_;
};

}  // namespace moe

#endif  // TRAINER_STEP_TRAINER_H_
