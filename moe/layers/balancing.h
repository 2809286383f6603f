#ifndef MOE_LAYERS_BALANCING_H_
#define MOE_LAYERS_BALANCING_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "comm/process_groups.h"
#include "moe/layers/layer_context.h"
#include "moe/layers/micro_batch.h"
#include "moe/layers/router.h"
#include "moe/model_config.pb.h"

namespace moe {

// What Balancing makes of one micro-batch. B sequences, E experts.
struct Balance {
  // Each layer's derivative by a token's probability of e in sequence b,
  // float32.
  std::vector<Tensor> gradients_BE;
  // This rank's shares of each layer's own loss, without coefficient; they add
  // up like LossTerms. Of HF_MIXTRAL, whose loss mixes the layers before the
  // product, it is E sum_e f_e P_e of this layer alone, top-k at balance.
  std::vector<double> layer_losses;
  // The load on the host, [layers, 2, B, E]: counts, then probability sums
  // (Routing). Whoever asks for the rest has put it here.
  std::vector<float> load;
};

// The auxiliary loss that keeps experts equally used (Shazeer et al., 2017;
// Fedus et al., 2021; docs in RouterConfig). f_e is the share of choices that
// went to expert e, P_e the mean probability of e. f has no gradient, so the
// loss acts on the router through one number for each sequence and expert:
// its derivative by any single token's probability.
//
//   SWITCH, SEQUENCE       (1/g) sum_b E sum_e f_be P_be        for each layer
//   SWITCH, MICRO_BATCH    (n/g) E sum_e f_e P_e                for each layer
//   HF_MIXTRAL             (n/g) E sum_e f_e P_e, f and P first averaged over
//                          layers, f not divided by K
//
// n sequences of all ranks in this micro-step, g in the global batch: over a
// batch's micro-steps the weights sum to 1.
//
// It computes on the host: the load of all layers has come in one copy, and the
// derivatives of all layers go to the device in one. It waits for nothing.
class Balancing {
 public:
  Balancing(const ModelConfig& model, const RouterConfig& config,
            const ProcessGroups& groups);

  // Fills the balance from its load; its tensors lie in context.saved. Adds
  // this rank's share of the loss, without its coefficient, to *aux_loss: the
  // shares of all ranks sum to the loss. Collective over the ranks that share a
  // scope: a sequence's tensor group, a micro-step's world.
  absl::Status Finish(LayerContext& context, Balance& balance, double* aux_loss,
                      const BatchScale& scale, int64_t length) const;

 private:
  // Choices, then probability sums, of all ranks of the scope: [layers, 2, B,
  // E] for sequences, [layers, 2, E] for a micro-batch.
  using Totals = std::vector<double>;

  absl::StatusOr<Totals> SumOverTensorGroup(absl::Span<const float> load) const;
  absl::StatusOr<Totals> SumOverWorld(absl::Span<const float> load) const;
  // Set the derivatives on the host, `gradients` [layers, B, E].
  void FinishSequences(absl::Span<float> gradients, Balance& balance,
                       double* aux_loss, const Totals& totals,
                       const BatchScale& scale, int64_t length) const;
  void FinishMicroBatch(absl::Span<float> gradients, Balance& balance,
                        double* aux_loss, Totals totals,
                        const BatchScale& scale, int64_t length) const;

  int64_t num_layers_;
  int64_t num_experts_;
  int64_t top_k_;
  RouterConfig config_;
  ProcessGroup& world_;
  ProcessGroup& tensor_;
};

}  // namespace moe

#endif  // MOE_LAYERS_BALANCING_H_
