#ifndef TRAINER_CHECKPOINT_TOOLS_CHECKPOINT_DIFF_H_
#define TRAINER_CHECKPOINT_TOOLS_CHECKPOINT_DIFF_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "data/corpus.h"
#include "trainer/checkpoint/store/stored_checkpoint.h"

namespace moe {

// How one tensor, or one of its moments, differs between checkpoints A and B.
struct TensorDifference {
  enum class Kind {
    kEqual,     // to the bit
    kElements,  // some elements have other bits
    kType,      // another dtype; elements are compared all the same
    kShape,     // another shape: nothing to compare
    kOnlyInA,
    kOnlyInB,
  };

  std::string name;
  std::string state;  // empty: the weight; or of kOptimizerStates
  Kind kind = Kind::kEqual;
  // In words, where the kind needs it: "F32 against BF16".
  std::string note;
  // max |b - a|; NaN where that is not a number.
  double largest = 0;
  // |b - a| / |a|, Euclidean norms; infinite where A is all 0 and B is not.
  double relative = 0;
};

struct DiffOptions {
  bool optimizer = false;
  int threads = 1;
};

// All tensors of both, the largest difference first: what cannot be compared,
// then by `largest`, then by name. FailedPrecondition: moments are asked for
// and one has none, or a tensor is of no float type. DataLoss: moments are not
// complete.
absl::StatusOr<std::vector<TensorDifference>> DiffCheckpoints(
    const StoredCheckpoint& a, const StoredCheckpoint& b,
    const DiffOptions& options, const ProgressFunction& progress);

}  // namespace moe

#endif  // TRAINER_CHECKPOINT_TOOLS_CHECKPOINT_DIFF_H_
