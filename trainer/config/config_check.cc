#include "trainer/config/config_check.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "comm/base/check_range.h"
#include "comm/base/status_macros.h"
#include "data/blend_order.h"
#include "moe/model_config.h"
#include "trainer/config/batch_plan.h"
#include "trainer/config/config_resolve.h"
#include "trainer/config/layout.h"
#include "trainer/config/step_range.h"

namespace moe {
namespace {

constexpr int64_t kMostSteps = int64_t{1} << 40;

// low <= value <= high; NaN is outside.
absl::Status CheckNumber(absl::string_view key, double value, double low,
                         double high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(key, " is ", value, ", must be from ", low, " to ", high));
}

// low <= value < high.
absl::Status CheckBelow(absl::string_view key, double value, double low,
                        double high) {
  if (value >= low && value < high) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      key, " is ", value, ", must be at least ", low, " and less than ", high));
}

absl::Status CheckAtLeast(absl::string_view key, double value, double low) {
  if (std::isfinite(value) && value >= low) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(key, " is ", value, ", must be at least ", low));
}

// What later versions may do: `is_supported` is of the value in the message.
absl::Status OnlyInThisVersion(bool is_supported, absl::string_view key,
                               absl::string_view value,
                               absl::string_view only) {
  if (is_supported) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(key, " is ", value, ", must be ", only, " in this version"));
}

absl::Status CheckRun(const RunConfig& run) {
  if (run.directory().empty()) {
    return absl::InvalidArgumentError(
        "run.directory is empty, must name the directory to write to");
  }
  RETURN_IF_ERROR(CheckInteger("run.threads", run.threads(), 0, 4096));
  RETURN_IF_ERROR(CheckInteger("run.expert_chunk_rows", run.expert_chunk_rows(),
                               0, kMostSteps));
  if (run.expert_chunk_rows() > 0 && run.recompute() != RunConfig::EXPERTS) {
    return absl::InvalidArgumentError(
        absl::StrCat("run.expert_chunk_rows is ", run.expert_chunk_rows(),
                     ", which needs run.recompute=EXPERTS; it is ",
                     RunConfig::Recompute_Name(run.recompute())));
  }
  if (run.device() == RunConfig::CUDA) {
    return absl::UnimplementedError(
        "run.device is CUDA, which is not in this build; it has CPU");
  }
  return absl::OkStatus();
}

absl::Status CheckBatch(const TrainConfig& config) {
  const BatchConfig& batch = config.batch();
  RETURN_IF_ERROR(CheckInteger("batch.global_size", batch.global_size(), 1,
                               int64_t{1} << 24));
  RETURN_IF_ERROR(CheckUpTo("batch.micro_size", batch.micro_size(), 0,
                            "batch.global_size", batch.global_size()));
  RETURN_IF_ERROR(CheckInteger("batch.sequence_length", batch.sequence_length(),
                               1, int64_t{1} << 24));
  const int64_t positions = config.model().max_position_embeddings();
  if (positions != 0 && batch.sequence_length() > positions) {
    return absl::InvalidArgumentError(absl::StrCat(
        "batch.sequence_length is ", batch.sequence_length(),
        ", must be at most model.max_position_embeddings (", positions, ")"));
  }
  return absl::OkStatus();
}

// Rows are counted in 32 bits, and any one rank may be sent all of its expert
// group's, of which each rank has its part of a tensor group's tokens. So are
// the choices of a sequence that a capacity sorts: those are whole.
absl::Status CheckRows(const TrainConfig& config, const Mesh& mesh) {
  const BatchPlan plan(config.batch().global_size(),
                       config.batch().micro_size(), mesh.data());
  const double rows =
      static_cast<double>(plan.OfMicroStep(mesh.data() - 1, 0).count) *
      config.batch().sequence_length() * config.model().num_experts_per_tok() *
      std::max(mesh.expert(), mesh.tensor()) / mesh.tensor();
  constexpr int32_t kMost = std::numeric_limits<int32_t>::max();
  if (rows <= kMost) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrFormat(
      "micro-batch sequences x batch.sequence_length x "
      "model.num_experts_per_tok x parallel.expert / parallel.tensor (if that "
      "is more than 1) is %.0f, must be at most %d; lower batch.micro_size",
      rows, kMost));
}

absl::Status CheckLength(const ScheduleConfig& schedule) {
  RETURN_IF_ERROR(
      CheckInteger("schedule.steps", schedule.steps(), 0, kMostSteps));
  RETURN_IF_ERROR(CheckInteger("schedule.tokens", schedule.tokens(), 0,
                               std::numeric_limits<int64_t>::max() / 2));
  if ((schedule.steps() == 0) != (schedule.tokens() == 0))
    return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "schedule.steps is ", schedule.steps(), " and schedule.tokens is ",
      schedule.tokens(), ", must be one of them and the other 0"));
}

// A run's warm-up and cool-down are within its steps, which `length` names.
absl::Status CheckWithinRun(const ScheduleConfig& schedule, int64_t steps,
                            absl::string_view length) {
  RETURN_IF_ERROR(CheckUpTo("schedule.warmup_steps", schedule.warmup_steps(), 0,
                            length, steps));
  if (schedule.decay() != ScheduleConfig::WSD) return absl::OkStatus();
  return CheckUpTo("schedule.cooldown_steps", schedule.cooldown_steps(), 1,
                   absl::StrCat(length, " - schedule.warmup_steps"),
                   steps - schedule.warmup_steps());
}

absl::Status CheckLearningRates(const TrainConfig& config) {
  const double least = config.schedule().min_learning_rate();
  const double most = config.optimizer().learning_rate();
  if (least >= 0 && least <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("schedule.min_learning_rate is ", least,
                   ", must be from 0 to optimizer.learning_rate (", most, ")"));
}

absl::Status CheckSchedule(const TrainConfig& config) {
  const ScheduleConfig& schedule = config.schedule();
  RETURN_IF_ERROR(CheckLength(schedule));
  const int64_t steps = StepsOf(config);
  if (steps > kMostSteps) {
    return absl::InvalidArgumentError(
        absl::StrCat("schedule.tokens is ", schedule.tokens(), ", which takes ",
                     steps, " steps, must take at most ", kMostSteps));
  }
  const bool wsd = schedule.decay() == ScheduleConfig::WSD;
  RETURN_IF_ERROR(CheckInteger("schedule.warmup_steps", schedule.warmup_steps(),
                               0, kMostSteps));
  if (!wsd && schedule.cooldown_steps() != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("schedule.cooldown_steps is ", schedule.cooldown_steps(),
                     ", must be 0 unless schedule.decay is WSD (it is ",
                     ScheduleConfig::Decay_Name(schedule.decay()), ")"));
  }
  if (wsd) {
    RETURN_IF_ERROR(CheckInteger("schedule.cooldown_steps",
                                 schedule.cooldown_steps(), 1, kMostSteps));
  }
  // Of a run in tokens that goes on nobody knows yet how many steps it has.
  if (schedule.steps() > 0)
    RETURN_IF_ERROR(CheckWithinRun(schedule, steps, "schedule.steps"));
  RETURN_IF_ERROR(CheckLearningRates(config));
  return CheckAtLeast("schedule.stop_after_seconds",
                      schedule.stop_after_seconds(), 0);
}

absl::Status CheckOptimizer(const OptimizerConfig& optimizer) {
  RETURN_IF_ERROR(CheckNumber("optimizer.learning_rate",
                              optimizer.learning_rate(), 0, 1000));
  RETURN_IF_ERROR(CheckBelow("optimizer.beta1", optimizer.beta1(), 0, 1));
  RETURN_IF_ERROR(CheckBelow("optimizer.beta2", optimizer.beta2(), 0, 1));
  // The update divides in float32: the smallest normal float.
  RETURN_IF_ERROR(CheckNumber("optimizer.epsilon", optimizer.epsilon(),
                              std::numeric_limits<float>::min(), 1));
  RETURN_IF_ERROR(
      CheckNumber("optimizer.weight_decay", optimizer.weight_decay(), 0, 1000));
  RETURN_IF_ERROR(
      CheckAtLeast("optimizer.clip_norm", optimizer.clip_norm(), 0));
  return CheckInteger("optimizer.max_skipped_steps",
                      optimizer.max_skipped_steps(), 0, kMostSteps);
}

absl::Status CheckBlend(absl::string_view key, const DataBlend& blend) {
  for (int i = 0; i < blend.source_size(); ++i) {
    const DataSource& source = blend.source(i);
    if (source.path().empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("source ", i + 1, " of ", key, " has no path"));
    }
    if (!std::isfinite(source.weight()) || source.weight() <= 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("the weight of ", source.path(), " in ", key, " is ",
                       source.weight(), ", must be greater than 0"));
    }
  }
  return absl::OkStatus();
}

// data.valid is read in the order of its files, whatever their weights.
absl::Status CheckShares(const DataBlend& train) {
  double sum = 0;
  for (const DataSource& source : train.source()) sum += source.weight();
  for (const DataSource& source : train.source()) {
    if (source.weight() / sum * BlendOrder::kMostPeriod >= 1) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("the weight of ", source.path(), " in data.train is ",
                     source.weight(), ", must be at least 1/",
                     BlendOrder::kMostPeriod, " of the sum (", sum, ")"));
  }
  return absl::OkStatus();
}

absl::Status CheckData(const DataConfig& data) {
  RETURN_IF_ERROR(CheckBlend("data.train", data.train()));
  RETURN_IF_ERROR(CheckBlend("data.valid", data.valid()));
  RETURN_IF_ERROR(CheckShares(data.train()));
  return CheckBelow("data.valid_fraction", data.valid_fraction(), 0, 1);
}

// 0 steps: not known yet. `length` names them.
absl::Status CheckTrace(const TrainConfig& config, int64_t steps,
                        absl::string_view length) {
  const std::string& text = config.log().trace_steps();
  ASSIGN_OR_RETURN(const StepRange range, ParseStepRange(text));
  if (steps == 0 || range.first <= steps) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("log.trace_steps is '", text, "', must begin at step ",
                   steps, " (the last of ", length, ") or before"));
}

absl::Status CheckReports(const TrainConfig& config) {
  RETURN_IF_ERROR(CheckInteger("eval.interval_steps",
                               config.eval().interval_steps(), 0, kMostSteps));
  RETURN_IF_ERROR(
      CheckInteger("eval.batches", config.eval().batches(), 0, kMostSteps));
  const CheckpointConfig& checkpoint = config.checkpoint();
  RETURN_IF_ERROR(CheckInteger("checkpoint.interval_steps",
                               checkpoint.interval_steps(), 0, kMostSteps));
  RETURN_IF_ERROR(CheckAtLeast("checkpoint.interval_seconds",
                               checkpoint.interval_seconds(), 0));
  RETURN_IF_ERROR(
      CheckInteger("checkpoint.keep", checkpoint.keep(), 1, 1000000));
  const LogConfig& log = config.log();
  RETURN_IF_ERROR(
      CheckInteger("log.interval_steps", log.interval_steps(), 1, kMostSteps));
  RETURN_IF_ERROR(OnlyInThisVersion(!log.tensorboard(), "log.tensorboard",
                                    "true", "false"));
  RETURN_IF_ERROR(
      CheckTrace(config, config.schedule().steps(), "schedule.steps"));
  return OnlyInThisVersion(log.metrics_port() == 0, "log.metrics_port",
                           absl::StrCat(log.metrics_port()), "0");
}

absl::Status CheckParallel(const ParallelConfig& parallel) {
  RETURN_IF_ERROR(
      CheckInteger("parallel.tensor", parallel.tensor(), 1, 1 << 20));
  RETURN_IF_ERROR(
      CheckInteger("parallel.expert", parallel.expert(), 0, 1 << 20));
  RETURN_IF_ERROR(CheckInteger("parallel.collective_timeout_seconds",
                               parallel.collective_timeout_seconds(), 1,
                               1 << 30));
  return CheckInteger("parallel.bucket_elements", parallel.bucket_elements(), 1,
                      int64_t{1} << 40);
}

}  // namespace

absl::Status ValidateConfig(const TrainConfig& config, int world) {
  RETURN_IF_ERROR(CheckInteger("the number of ranks", world, 1, 1 << 20));
  RETURN_IF_ERROR(CheckRun(config.run()));
  RETURN_IF_ERROR(ValidateModel(config.model()));
  RETURN_IF_ERROR(ValidateRouter(config.router()));
  RETURN_IF_ERROR(CheckOptimizer(config.optimizer()));
  RETURN_IF_ERROR(CheckBatch(config));
  RETURN_IF_ERROR(CheckSchedule(config));
  RETURN_IF_ERROR(CheckParallel(config.parallel()));
  RETURN_IF_ERROR(CheckData(config.data()));
  RETURN_IF_ERROR(CheckReports(config));
  ASSIGN_OR_RETURN(const Mesh mesh, MakeMesh(config, world));
  return CheckRows(config, mesh);
}

absl::Status CheckFitsFromBeginning(const TrainConfig& config) {
  const absl::string_view length = config.schedule().tokens() > 0
                                       ? "the steps of schedule.tokens"
                                       : "schedule.steps";
  const int64_t steps = StepsOf(config);
  RETURN_IF_ERROR(CheckWithinRun(config.schedule(), steps, length));
  return CheckTrace(config, steps, length);
}

absl::Status RequireTrainingData(const TrainConfig& config) {
  if (config.data().train().source_size() > 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "data.train is empty, must name what to train on, as in "
      "data.train=text.txt");
}

}  // namespace moe
