#include "moe/balancing.h"

#include <utility>

#include "comm/status_macros.h"

namespace moe {

Balancing::Balancing(const ModelConfig& model, const RouterConfig& config,
                     const ProcessGroups& groups)
    : num_experts_(model.num_local_experts()),
      top_k_(model.num_experts_per_tok()),
      config_(config),
      world_(groups.world()),
      tensor_(groups[Axis::kTensor]) {}

absl::Status Balancing::Finish(LayerContext& context,
                               std::vector<Tensor>& balance, double* aux_loss,
                               std::vector<double>& layer_losses,
                               absl::Span<const Routing> routings,
                               const BatchScale& scale, int64_t length) const {
  balance.resize(routings.size());
  layer_losses.resize(routings.size());
  for (size_t layer = 0; layer < routings.size(); ++layer) {
    ASSIGN_OR_RETURN(
        balance[layer],
        context.saved.Allocate({routings[layer].counts_BE.dim(0), num_experts_},
                               DType::kFloat32));
  }
  if (config_.aux_loss_scope() == RouterConfig::SEQUENCE) {
    ASSIGN_OR_RETURN(const Totals totals, SumOverTensorGroup(routings));
    FinishSequences(balance, aux_loss, layer_losses, totals, scale, length);
  } else {
    ASSIGN_OR_RETURN(Totals totals, SumOverWorld(routings));
    FinishMicroBatch(balance, aux_loss, layer_losses, std::move(totals), scale,
                     length);
  }
  return absl::OkStatus();
}

absl::StatusOr<Balancing::Totals> Balancing::SumOverTensorGroup(
    absl::Span<const Routing> routings) const {
  Totals totals;
  for (const Routing& routing : routings) {
    for (const Tensor& part :
         {routing.counts_BE, routing.probability_sums_BE}) {
      const float* part_BE = part.data<float>();
      totals.insert(totals.end(), part_BE, part_BE + part.size());
    }
  }
  RETURN_IF_ERROR(Annotate(
      tensor_.AllReduce(ViewOf(absl::MakeSpan(totals)), ReduceOp::kSum),
      "expert load of the sequences"));
  return totals;
}

void Balancing::FinishSequences(std::vector<Tensor>& balance, double* aux_loss,
                                std::vector<double>& layer_losses,
                                const Totals& totals, const BatchScale& scale,
                                int64_t length) const {
  const double tokens = static_cast<double>(length);
  const double weight = static_cast<double>(num_experts_) /
                        static_cast<double>(scale.global_sequences);
  const double* counts_BE = totals.data();
  for (size_t layer = 0; layer < balance.size(); ++layer) {
    const int64_t size = balance[layer].size();
    const double* sums_BE = counts_BE + size;
    float* balance_BE = balance[layer].data<float>();
    double loss = 0;
    for (int64_t i = 0; i < size; ++i) {
      const double f = counts_BE[i] / (tokens * static_cast<double>(top_k_));
      const double p = sums_BE[i] / tokens;
      loss += weight * f * p;
      balance_BE[i] = static_cast<float>(config_.aux_loss_coefficient() *
                                         weight * f / tokens);
    }
    // The ranks of a tensor group have the same sequences: one reports.
    layer_losses[layer] = tensor_.rank() == 0 ? loss : 0;
    *aux_loss += layer_losses[layer];
    counts_BE = sums_BE + size;
  }
}

absl::StatusOr<Balancing::Totals> Balancing::SumOverWorld(
    absl::Span<const Routing> routings) const {
  const size_t E = static_cast<size_t>(num_experts_);
  Totals totals(routings.size() * 2 * E);
  for (size_t layer = 0; layer < routings.size(); ++layer) {
    double* counts_E = &totals[layer * 2 * E];
    double* sums_E = counts_E + E;
    const float* counts_BE = routings[layer].counts_BE.data<float>();
    const float* sums_BE = routings[layer].probability_sums_BE.data<float>();
    const int64_t size = routings[layer].counts_BE.size();
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

void Balancing::FinishMicroBatch(std::vector<Tensor>& balance, double* aux_loss,
                                 std::vector<double>& layer_losses,
                                 Totals totals, const BatchScale& scale,
                                 int64_t length) const {
  const size_t E = static_cast<size_t>(num_experts_);
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
  for (size_t layer = 0; layer < balance.size(); ++layer) {
    layer_losses[layer] = loss(&totals[layer * 2 * E], tokens);
    if (!hf_mixtral) *aux_loss += layer_losses[layer];
  }
  double scope_tokens = tokens;
  if (hf_mixtral) {  // Every layer becomes the sum over layers.
    scope_tokens *= static_cast<double>(balance.size());
    for (size_t i = 2 * E; i < totals.size(); ++i)
      totals[i % (2 * E)] += totals[i];
    *aux_loss += loss(totals.data(), scope_tokens);
  }
  const double factor = config_.aux_loss_coefficient() * weight /
                        (scope_tokens * f_divisor) / scope_tokens;
  for (size_t layer = 0; layer < balance.size(); ++layer) {
    const double* counts_E = &totals[hf_mixtral ? 0 : layer * 2 * E];
    float* balance_BE = balance[layer].data<float>();
    for (int64_t i = 0; i < balance[layer].size(); ++i)
      balance_BE[i] = static_cast<float>(factor * counts_E[i % num_experts_]);
  }
}

}  // namespace moe
