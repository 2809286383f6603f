#include "trainer/config/config_resolve.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "comm/base/status_macros.h"
#include "data/blend_order.h"
#include "moe/model_config.h"
#include "trainer/config/layout.h"
#include "trainer/config/run_length.h"

namespace moe {
namespace {

// Shares that the order of a blend has to round by more than a hundredth.
void WarnOfRoundedShares(const DataBlend& train,
                         std::vector<std::string>& warnings) {
  std::vector<double> weights;
  for (const DataSource& source : train.source())
    weights.push_back(source.weight());
  const absl::StatusOr<BlendOrder> order = BlendOrder::Create(weights);
  if (!order.ok()) return;  // ValidateConfig names it
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  for (int i = 0; i < train.source_size(); ++i) {
    const double asked = train.source(i).weight() / sum;
    const double given = order->ShareOf(i);
    if (std::abs(given - asked) <= 0.01 * asked) continue;
    warnings.push_back(absl::StrFormat(
        "data.train: %s gets %.3g %% of the samples, not %.3g %%: the shares "
        "of these "
        "weights are rounded to multiples of 1/%d",
        train.source(i).path(), 100 * given, 100 * asked, order->period()));
  }
}

}  // namespace

absl::StatusOr<TrainConfig> ResolveConfig(const TrainConfig& config, int world,
                                          int cores_per_rank) {
  ASSIGN_OR_RETURN(const Mesh mesh, MakeMesh(config, world));
  TrainConfig resolved = config;
  if (config.run().threads() == 0)
    resolved.mutable_run()->set_threads(cores_per_rank);
  ModelConfig& model = *resolved.mutable_model();
  model.set_head_dim(static_cast<int>(HeadDim(config.model())));
  if (model.max_position_embeddings() == 0)
    model.set_max_position_embeddings(config.batch().sequence_length());
  if (config.batch().micro_size() == 0) {
    resolved.mutable_batch()->set_micro_size(
        (config.batch().global_size() - 1) / mesh.data() + 1);
  }
  resolved.mutable_parallel()->set_expert(mesh.expert());
  return resolved;
}

int64_t StepsOf(const TrainConfig& config) {
  return RunLength(config).last_step();
}

int64_t MaxExpertRows(const TrainConfig& config) {
  if (config.run().expert_chunk_rows() > 0)
    return config.run().expert_chunk_rows();
  return 2 * int64_t{config.batch().micro_size()} *
         config.batch().sequence_length() *
         config.model().num_experts_per_tok() / config.parallel().tensor();
}

Recompute RecomputeOf(const TrainConfig& config) {
  switch (config.run().recompute()) {
    case RunConfig::NONE:
      return Recompute::kNone;
    case RunConfig::EXPERTS:
      return Recompute::kExperts;
    case RunConfig::BLOCK:
      return Recompute::kBlock;
  }
  return Recompute::kNone;  // Protobuf lets no other value in
}

DType ComputeDType(const TrainConfig& config) {
  return config.run().compute_dtype() == RunConfig::BFLOAT16 ? DType::kBFloat16
                                                             : DType::kFloat32;
}

std::vector<std::string> ConfigWarnings(const TrainConfig& config, int world) {
  std::vector<std::string> warnings;
  const RouterConfig& router = config.router();
  if (config.model().num_experts_per_tok() == 1 && router.renormalize()) {
    warnings.push_back(
        "model.num_experts_per_tok is 1 and router.renormalize is true: every "
        "routing weight is 1, so the router gets no gradient from the language "
        "model's loss; consider router.renormalize=false");
  }
  if (!router.renormalize()) {
    warnings.push_back(
        "router.renormalize is false: Mixtral's own models sum their routing "
        "weights to 1, so these weights are saved under a model_type of ours, "
        "which transformers refuses rather than misreads");
  }
  if (router.force_balance()) {
    warnings.push_back(
        "router.force_balance is true: tokens go round the experts whatever "
        "the router says; for benchmarks only, the model learns nothing "
        "useful");
  }
  WarnOfRoundedShares(config.data().train(), warnings);
  const int data_ranks = world / std::max(1, config.parallel().tensor());
  if (config.batch().global_size() < data_ranks) {
    warnings.push_back(absl::StrCat(
        "batch.global_size is ", config.batch().global_size(), ", less than ",
        data_ranks,
        " data parallel ranks: ", data_ranks - config.batch().global_size(),
        " without any sequence, which only hold experts"));
  }
  return warnings;
}

}  // namespace moe
