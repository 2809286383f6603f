#include "moe/layers/balancing.h"

#include <utility>

#include "comm/base/status_macros.h"

namespace moe {

Balancing::Balancing(const ModelConfig& model, const RouterConfig& config,
                     const ProcessGroups& groups)
    : num_layers_(model.num_hidden_layers()),
      num_experts_(model.num_local_experts()),
      top_k_(model.num_experts_per_tok()),
      config_(config),
      world_(groups.world()),
      tensor_(groups[Axis::kTensor]) {}

absl::Status Balancing::Finish(LayerContext& context, Balance& balance,
                               double* aux_loss, const BatchScale& scale,
                               int64_t length) const {
  const absl::Span<const float> load = balance.load;
  const int64_t B =
      static_cast<int64_t>(load.size()) / (num_layers_ * 2 * num_experts_);
  ASSIGN_OR_RETURN(
      const Tensor gradients_LBE,
      context.saved.Allocate({num_layers_, B, num_experts_}, DType::kFloat32));
  balance.gradients_BE.clear();
  for (int64_t layer = 0; layer < num_layers_; ++layer)
    balance.gradients_BE.push_back(gradients_LBE[layer]);
  balance.layer_losses.assign(static_cast<size_t>(num_layers_), 0);

  std::vector<float> gradients(static_cast<size_t>(gradients_LBE.size()));
  if (config_.aux_loss_scope() == RouterConfig::SEQUENCE) {
    ASSIGN_OR_RETURN(const Totals totals, SumOverTensorGroup(load));
    FinishSequences(absl::MakeSpan(gradients), balance, aux_loss, totals, scale,
                    length);
  } else {
    ASSIGN_OR_RETURN(Totals totals, SumOverWorld(load));
    FinishMicroBatch(absl::MakeSpan(gradients), balance, aux_loss,
                     std::move(totals), scale, length);
  }
  context.kernels.context().Upload(
      gradients_LBE.raw(), gradients.data(),
      gradients_LBE.size() * SizeOf(DType::kFloat32));
  return absl::OkStatus();
}

absl::StatusOr<Balancing::Totals> Balancing::SumOverTensorGroup(
    absl::Span<const float> load) const {
  Totals totals(load.begin(), load.end());
  RETURN_IF_ERROR(Annotate(
      tensor_.AllReduce(ViewOf(absl::MakeSpan(totals)), ReduceOp::kSum),
      "expert load of the sequences"));
  return totals;
}

void Balancing::FinishSequences(absl::Span<float> gradients, Balance& balance,
                                double* aux_loss, const Totals& totals,
                                const BatchScale& scale, int64_t length) const {
  const double tokens = static_cast<double>(length);
  const double weight = static_cast<double>(num_experts_) /
                        static_cast<double>(scale.global_sequences);
  const double* counts_BE = totals.data();
  float* gradients_BE = gradients.data();
  const int64_t size = static_cast<int64_t>(gradients.size()) /
                       static_cast<int64_t>(balance.layer_losses.size());
  for (double& layer_loss : balance.layer_losses) {
    const double* sums_BE = counts_BE + size;
    double loss = 0;
    for (int64_t i = 0; i < size; ++i) {
      const double f = counts_BE[i] / (tokens * static_cast<double>(top_k_));
      const double p = sums_BE[i] / tokens;
      loss += weight * f * p;
      gradients_BE[i] = static_cast<float>(config_.aux_loss_coefficient() *
                                           weight * f / tokens);
    }
    // The ranks of a tensor group have the same sequences: one reports.
    layer_loss = tensor_.rank() == 0 ? loss : 0;
    *aux_loss += layer_loss;
    counts_BE = sums_BE + size;
    gradients_BE += size;
  }
}

absl::StatusOr<Balancing::Totals> Balancing::SumOverWorld(
    absl::Span<const float> load) const {
  const size_t E = static_cast<size_t>(num_experts_);
  const size_t layers = static_cast<size_t>(num_layers_);
  Totals totals(layers * 2 * E);
  const int64_t size = static_cast<int64_t>(load.size()) / (2 * num_layers_);
  for (size_t layer = 0; layer < layers; ++layer) {
    double* counts_E = &totals[layer * 2 * E];
    double* sums_E = counts_E + E;
    const float* counts_BE =
        load.data() + static_cast<int64_t>(layer) * 2 * size;
    const float* sums_BE = counts_BE + size;
    for (int64_t i = 0; i < size; ++i) {
      counts_E[i % num_experts_] += counts_BE[i];
      sums_E[i % num_experts_] += sums_BE[i];
    }
  }
  RETURN_IF_ERROR(
      Annotate(world_.AllReduce(ViewOf(absl::MakeSpan(totals)), ReduceOp::kSum),
               "expert load of a micro-step"));
  return totals;
}

void Balancing::FinishMicroBatch(absl::Span<float> gradients, Balance& balance,
                                 double* aux_loss, Totals totals,
                                 const BatchScale& scale,
                                 int64_t length) const {
  const size_t E = static_cast<size_t>(num_experts_);
  const size_t layers = balance.layer_losses.size();
  const bool hf_mixtral =
      config_.aux_loss_semantics() == RouterConfig::HF_MIXTRAL;
  const double tokens = static_cast<double>(scale.micro_sequences * length);
  const double f_divisor = hf_mixtral ? 1.0 : static_cast<double>(top_k_);
  const double weight = static_cast<double>(scale.micro_sequences) /
                        static_cast<double>(scale.global_sequences) *
                        static_cast<double>(num_experts_);
  // Of totals over so many tokens. It is the same on all ranks: one reports.
  const auto loss = [&](const double* counts_E, double total_tokens) {
    double sum = 0;
    for (size_t e = 0; e < E && world_.rank() == 0; ++e)
      sum += weight * counts_E[e] / (total_tokens * f_divisor) *
             counts_E[E + e] / total_tokens;
    return sum;
  };
  for (size_t layer = 0; layer < layers; ++layer) {
    balance.layer_losses[layer] = loss(&totals[layer * 2 * E], tokens);
    if (!hf_mixtral) *aux_loss += balance.layer_losses[layer];
  }
  double scope_tokens = tokens;
  if (hf_mixtral) {  // Every layer becomes the sum over layers.
    scope_tokens *= static_cast<double>(layers);
    for (size_t i = 2 * E; i < totals.size(); ++i)
      totals[i % (2 * E)] += totals[i];
    *aux_loss += loss(totals.data(), scope_tokens);
  }
  const double factor = config_.aux_loss_coefficient() * weight /
                        (scope_tokens * f_divisor) / scope_tokens;
  const size_t size = gradients.size() / layers;
  for (size_t layer = 0; layer < layers; ++layer) {
    const double* counts_E = &totals[hf_mixtral ? 0 : layer * 2 * E];
    for (size_t i = 0; i < size; ++i)
      gradients[layer * size + i] =
          static_cast<float>(factor * counts_E[i % E]);
  }
}

}  // namespace moe
