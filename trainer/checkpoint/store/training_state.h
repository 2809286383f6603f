#ifndef TRAINER_CHECKPOINT_STORE_TRAINING_STATE_H_
#define TRAINER_CHECKPOINT_STORE_TRAINING_STATE_H_

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "moe/parameters/parameter_table.h"

namespace moe {

// Elements [begin, begin + count) of a local parameter's slice, whose optimizer
// state one rank owns.
struct OwnedRun {
  const Parameter& parameter;
  int64_t begin = 0;
  int64_t count = 0;
};

// What a checkpoint takes from the optimizer, whoever holds it and wherever it
// lies; all spans are the host's.
class TrainingState {
 public:
  virtual ~TrainingState() = default;

  // out = master weights of elements [begin, begin + out.size()) of this
  // rank's arena; of a frozen arena, which has no masters, the weights
  // themselves. Collective over the arena's reduction group: every rank of it
  // asks for the same range.
  virtual absl::Status Gather(ArenaKind kind, int64_t begin,
                              absl::Span<float> out) = 0;

  // The runs of trained parameters whose optimizer state this rank owns: the
  // same calls in the same order every time.
  using OwnedVisitor = absl::FunctionRef<void(const OwnedRun& run)>;
  virtual void ForEachOwned(OwnedVisitor visit) const = 0;

  // out = a state of kOptimizerStates of a run, or of a part of one; spans have
  // run.count elements.
  virtual absl::Status CopyState(const OwnedRun& run, absl::string_view state,
                                 absl::Span<float> out) const = 0;
  // The other way.
  virtual absl::Status SetState(const OwnedRun& run, absl::string_view state,
                                absl::Span<const float> values) = 0;
};

}  // namespace moe

#endif  // TRAINER_CHECKPOINT_STORE_TRAINING_STATE_H_
