#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "comm/base/status_macros.h"
#include "launch/bench/bench_step.h"
#include "launch/bench/bench_trainer.h"
#include "moe/parameters/weights.h"

// A router is a product of normed rows with the gate, and has no bias. To lean
// it to expert 0, the first column of the embedding, which the residual stream
// carries through all layers, is made large, and the same sign for all tokens
// that shall go there; the first column of the gate is made positive for expert
// 0 and 0 for all others. What else a token chooses is left to the other
// columns. The learning rate is next to nothing, so that it stays so.

namespace moe {
namespace {

constexpr float kEmbedding = 1;  // 50 times what the other columns are
constexpr float kLogit = 5;      // of expert 0, about
constexpr double kLearningRate = 1e-12;

TrainConfig WithoutLearning(TrainConfig config) {
  config.mutable_schedule()->set_decay(ScheduleConfig::CONSTANT);
  config.mutable_schedule()->set_warmup_steps(0);
  config.mutable_schedule()->set_min_learning_rate(0);
  config.mutable_optimizer()->set_learning_rate(kLearningRate);
  return config;
}

// Sets the first columns that lie in `out`, elements [begin, begin +
// out.size()) of an arena.
void PlantFirstColumns(const ModelConfig& model, const ParameterTable& table,
                       ArenaKind kind, int64_t begin, absl::Span<float> out) {
  const double share =
      std::min(1.0, 0.5 * static_cast<double>(model.num_experts_per_tok()));
  const auto num_leaning = static_cast<int64_t>(
      std::ceil(share * static_cast<double>(model.vocab_size())));
  const float gate =
      kLogit / std::sqrt(static_cast<float>(model.hidden_size()));
  const auto size = static_cast<int64_t>(out.size());
  const auto visit = [&](const Parameter& parameter, int64_t in_slice,
                         int64_t in_range, int64_t count) {
    const bool is_gate = absl::EndsWith(parameter.name, ".gate.weight");
    if (!is_gate && !absl::EndsWith(parameter.name, "embed_tokens.weight"))
      return;
    const Slice& slice = parameter.slice;
    for (int64_t i = 0; i < count; ++i) {
      if ((in_slice + i) % slice.num_columns != 0) continue;
      const int64_t row = slice.first_row + (in_slice + i) / slice.num_columns;
      const float sign = row < num_leaning ? 1 : -1;
      out[static_cast<size_t>(in_range + i)] = !is_gate   ? sign * kEmbedding
                                               : row == 0 ? gate
                                                          : 0;
    }
  };
  ForEachParameter(table, kind, begin, size, visit);
}

absl::StatusOr<std::unique_ptr<BenchTrainer>> CreateLeaning(
    const TrainConfig& config, const MpiRuntime& runtime, Kernels& kernels) {
  ASSIGN_OR_RETURN(std::unique_ptr<BenchTrainer> bench,
                   BenchTrainer::Create(config, runtime, kernels));
  const ParameterTable& table = bench->trainer().table();
  RETURN_IF_ERROR(bench->trainer().optimizer().Initialize(
      [&](ArenaKind kind, int64_t begin, absl::Span<float> out) {
        InitialArena(config.model(), table, kind, config.run().seed(), begin,
                     out);
        PlantFirstColumns(config.model(), table, kind, begin, out);
        return absl::OkStatus();
      }));
  return bench;
}

// The largest share of a layer's rows that one expert had in the last step,
// mean over layers.
double LargestExpertShare(Trainer& trainer, int64_t num_layers) {
  const absl::Span<const double> counts = trainer.expert_counts();
  const size_t E = counts.size() / static_cast<size_t>(num_layers);
  double sum = 0;
  for (size_t begin = 0; begin < counts.size(); begin += E) {
    const absl::Span<const double> layer = counts.subspan(begin, E);
    sum += *std::max_element(layer.begin(), layer.end()) /
           std::accumulate(layer.begin(), layer.end(), 0.0);
  }
  return sum / static_cast<double>(num_layers);
}

}  // namespace

absl::Status BenchSkew(const MpiRuntime& runtime, const BenchOptions& options) {
  TrainConfig config = WithoutLearning(options.config);
  config.mutable_router()->set_force_balance(false);
  const std::unique_ptr<Kernels> kernels =
      MakeCpuKernels(config.run().threads());
  RETURN_IF_ERROR(kernels->status());
  ASSIGN_OR_RETURN(const std::unique_ptr<BenchTrainer> skewed,
                   CreateLeaning(config, runtime, *kernels));
  config.mutable_router()->set_force_balance(true);
  ASSIGN_OR_RETURN(const std::unique_ptr<BenchTrainer> balanced,
                   CreateLeaning(config, runtime, *kernels));
  std::vector<double> times;
  std::vector<double> balanced_times;
  int warm_up = BenchTrainer::kWarmUpSteps;
  for (bool enough = false; !enough;) {
    ASSIGN_OR_RETURN(const double seconds, skewed->TimeStep());
    ASSIGN_OR_RETURN(const double balanced_seconds, balanced->TimeStep());
    if (warm_up-- > 0) continue;
    times.push_back(seconds);
    balanced_times.push_back(balanced_seconds);
    ASSIGN_OR_RETURN(enough, skewed->AreEnough(times, options.seconds));
  }
  BenchResult result = skewed->Result(times, options.peak_flops);
  result.part = "skew";
  result.name = "training step, skewed router";
  const double share =
      LargestExpertShare(skewed->trainer(), config.model().num_hidden_layers());
  const double over = result.seconds / Median(balanced_times);
  result.figures = {
      {"balanced_seconds", Median(balanced_times), ""},
      {"time_over_balanced", over,
       absl::StrFormat("%.3f of a balanced step's time", over)},
      {"largest_expert_share", share,
       absl::StrFormat("%.1f %% of all rows at one expert", 100 * share)}};
  if (runtime.rank() == 0) options.report(result);
  return absl::OkStatus();
}

}  // namespace moe
