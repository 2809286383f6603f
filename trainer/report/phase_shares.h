#ifndef TRAINER_REPORT_PHASE_SHARES_H_
#define TRAINER_REPORT_PHASE_SHARES_H_

#include <array>
#include <cstddef>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "comm/phase.h"
#include "comm/process_group.h"
#include "comm/trace.h"

namespace moe {

// What the time of a step goes into: one share a PhaseGroup.
inline constexpr size_t kNumShares = kNumPhaseGroups;
// The name of a share in metrics: that of the group of its index.
const char* PhaseShareName(size_t index);

// Shares of time by PhaseGroup, which sum to 1; all 0 where there is none.
using PhaseShares = std::array<double, kNumShares>;

// Seconds of one rank, each phase's in its group.
PhaseShares SumPhaseTimes(absl::Span<const PhaseTime> times);

// The parts of kWaiting that were waited in each of the others.
PhaseShares SumPhaseWaits(absl::Span<const PhaseTime> times);

// Of all ranks together. Collective; the same on all ranks.
absl::StatusOr<PhaseShares> FindPhaseShares(absl::Span<const PhaseTime> times,
                                            ProcessGroup& world);

}  // namespace moe

#endif  // TRAINER_REPORT_PHASE_SHARES_H_
