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

  // The moments that this rank owns, a call for each run of elements [begin,
  // begin + size) of a local parameter's slice; the same runs every time.
  using OwnedVisitor = absl::FunctionRef<void(
      const Parameter& parameter, int64_t begin, absl::Span<float> first_moment,
      absl::Span<float> second_moment)>;
  virtual void ForEachOwned(OwnedVisitor visit) = 0;
};

}  // namespace moe

#endif  // TRAINER_CHECKPOINT_TRAINING_STATE_H_
