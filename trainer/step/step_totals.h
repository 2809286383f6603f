#ifndef TRAINER_STEP_STEP_TOTALS_H_
#define TRAINER_STEP_STEP_TOTALS_H_

#include <cstdint>

namespace moe {

// The numbers of a step that are summed over the world in one collective,
// before those of its routing (RoutingStatistics::totals).
enum StepTotal : int64_t {
  kCrossEntropy,
  kAuxLoss,
  kZLoss,
  kSumOfSquares,  // of the gradient
  kFailedReads,   // ranks left without tokens
  kStopRequests,
  kSaveRequests,
  kBatchDigest,
  kNumStepTotals,
};

}  // namespace moe

#endif  // TRAINER_STEP_STEP_TOTALS_H_
