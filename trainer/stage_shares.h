#ifndef TRAINER_STAGE_SHARES_H_
#define TRAINER_STAGE_SHARES_H_

#include <array>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "comm/process_group.h"
#include "comm/trace.h"

namespace moe {

// What a step's time goes into, forward and backward together. All other stages
// are the last one.
inline constexpr std::array<const char*, 14> kTimedStages = {
    "data",       "embedding", "attention",        "router",
    "dispatch",   "experts",   "combine",          "auxiliary losses",
    "head",       "optimizer", "sum of gradients", "checkpoint",
    "validation", "waiting"};
inline constexpr size_t kNumShares = kTimedStages.size() + 1;
// "other" for the last one.
const char* StageShareName(size_t index);

// Shares of time, which sum to 1; all 0 where there is none.
using StageShares = std::array<double, kNumShares>;

// Seconds of one rank by kTimedStages: "attention backward" is attention,
// "dispatch weights" and "row counts" are dispatch.
StageShares SumStageTimes(absl::Span<const StageTime> times);

// The parts of "waiting" that were waited in each of the others.
StageShares SumStageWaits(absl::Span<const StageTime> times);

// Of all ranks together. Collective; the same on all ranks.
absl::StatusOr<StageShares> FindStageShares(absl::Span<const StageTime> times,
                                            ProcessGroup& world);

}  // namespace moe

#endif  // TRAINER_STAGE_SHARES_H_
