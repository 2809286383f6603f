#ifndef TESTS_TRAINER_WEIGHTS_ONLY_STATE_H_
#define TESTS_TRAINER_WEIGHTS_ONLY_STATE_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "trainer/checkpoint/store/training_state.h"

namespace moe {

// Weights of which no rank keeps optimizer state.
class WeightsOnlyState : public TrainingState {
 public:
  void ForEachOwned(OwnedVisitor) const override {}
  absl::Status CopyState(const OwnedRun&, absl::string_view,
                         absl::Span<float>) const override {
    return absl::UnimplementedError("there is no optimizer state");
  }
  absl::Status SetState(const OwnedRun&, absl::string_view,
                        absl::Span<const float>) override {
    return absl::UnimplementedError("there is no optimizer state");
  }
};

}  // namespace moe

#endif  // TESTS_TRAINER_WEIGHTS_ONLY_STATE_H_
