#ifndef TRAINER_STEP_NON_FINITE_SEARCH_H_
#define TRAINER_STEP_NON_FINITE_SEARCH_H_

#include <array>
#include <cstdint>
#include <limits>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "comm/process_group.h"
#include "moe/kernels.h"
#include "moe/layers/language_model.h"
#include "moe/layers/tensor_observer.h"
#include "moe/parameters/gradient_listener.h"
#include "moe/parameters/weights.h"
#include "trainer/step/non_finite.h"
#include "trainer/step/optimizer.h"

namespace moe {

// Watches the passes of a step that is computed a second time, to find what was
// first not finite:
//
//   1. while the step's own results stand: LookAtSum, LookAtWeights
//   2. gradients cleared, for each micro-step: BeginMicroStep; the forward
//      pass, which shows its tensors; LookAtLosses; the backward pass, which
//      also tells which gradients are complete
//   3. Agree: of what the ranks found, the first (see NonFinite)
class NonFiniteSearch : public TensorObserver, public GradientListener {
 public:
  // All outlive the search. `gradients` are those that the passes add to.
  NonFiniteSearch(const ParameterTable& table,
                  const ParameterStorage& gradients, Kernels& kernels)
      : table_(table), gradients_(gradients), kernels_(kernels) {}

  // What ShardedAdamW::FirstNonFinite says of the sum.
  void LookAtSum(const NonFiniteElement& element);
  absl::Status LookAtWeights(const ParameterStorage& weights);

  void BeginMicroStep(int micro_step);
  void Observe(TensorKind kind, int layer, int local_expert,
               const Tensor& tensor) override;
  // Of this micro-step alone.
  void LookAtLosses(const LossTerms& losses);
  absl::Status GradientsReady(ParameterRange range) override;

  // All but step and in_loss of the answer. Collective.
  absl::StatusOr<NonFinite> Agree(ProcessGroup& world) const;

 private:
  // When: micro-step, stage of its passes, place in the stage. Of the weights
  // and the sums, which have no time: the parameter's place in the model.
  using Order = std::array<int64_t, 3>;
  static constexpr int64_t kLast = std::numeric_limits<int64_t>::max();
  static constexpr Order kNever = {kLast, kLast, kLast};

  // Something not finite, in numbers that travel.
  struct Sighting {
    Order order = kNever;
    int64_t kind = 0;  // TensorKind, where it is no parameter
    int64_t layer = -1;
    int64_t expert = -1;
    int64_t parameter = -1;  // index into the table
    double value = 0;
  };
  // What a rank has found.
  struct Found {
    static constexpr size_t kMaxHost = 64;

    Sighting first;
    Sighting gradient;
    Sighting sum;
    Sighting weights;
    char host[kMaxHost] = {};
  };

  int num_layers() const { return table_.num_layers(); }
  int64_t ForwardStage(TensorKind kind, int layer) const;
  // While, or after, `num_ranges` ranges of gradients were made complete.
  int64_t BackwardStage(int64_t num_ranges) const;
  Sighting OfParameter(int index, double value, Order order) const;
  // The earliest of all ranks'; what it is of a parameter, if it is.
  std::optional<NonFiniteTensor> Earliest(absl::Span<const Found> all,
                                          Sighting Found::*which,
                                          absl::string_view of_parameter) const;

  const ParameterTable& table_;
  const ParameterStorage& gradients_;
  Kernels& kernels_;
  Found found_;
  absl::Status read_;  // the first failure to read an element that was shown
  int micro_step_ = 0;
  int64_t num_ranges_ = 0;  // whose gradients are complete in this micro-step
};

}  // namespace moe

#endif  // TRAINER_STEP_NON_FINITE_SEARCH_H_
