#ifndef TRAINER_CHECKPOINT_TRAINING_STATE_H_
#define TRAINER_CHECKPOINT_TRAINING_STATE_H_

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "moe/parameter_table.h"

namespace moe {

// What a checkpoint takes from the optimizer, whoever holds it.
class TrainingState {
 public:
  virtual ~TrainingState() = default;

  // out = master weights of elements [begin, begin + out.size()) of this
  // rank's arena. Collective over the arena's reduction group: every rank of
  // it asks for the same range.
  virtual absl::Status Gather(ArenaKind kind, int64_t begin,
                              absl::Span<float> out) = 0;

  // The optimizer state that this rank owns: for each run of elements [begin,
  // begin + values.size()) of a local parameter's slice a call with each state
  // of kOptimizerStates; the same calls in the same order every time.
  using OwnedVisitor =
      absl::FunctionRef<void(const Parameter& parameter, const char* state,
                             int64_t begin, absl::Span<float> values)>;
  virtual void ForEachOwned(OwnedVisitor visit) = 0;
};

}  // namespace moe

#endif  // TRAINER_CHECKPOINT_TRAINING_STATE_H_
