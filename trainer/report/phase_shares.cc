#include "trainer/report/phase_shares.h"

#include <numeric>

#include "comm/base/status_macros.h"

namespace moe {
namespace {

size_t IndexOf(Phase phase) { return static_cast<size_t>(GroupOf(phase)); }

}  // namespace

const char* PhaseShareName(size_t index) {
  return Name(static_cast<PhaseGroup>(index));
}

PhaseShares SumPhaseTimes(absl::Span<const PhaseTime> times) {
  PhaseShares seconds = {};
  for (const PhaseTime& time : times)
    seconds[IndexOf(time.phase)] += static_cast<double>(time.nanos) * 1e-9;
  return seconds;
}

PhaseShares SumPhaseWaits(absl::Span<const PhaseTime> times) {
  PhaseShares seconds = {};
  for (const PhaseTime& time : times)
    seconds[IndexOf(time.phase)] +=
        static_cast<double>(time.waited_nanos) * 1e-9;
  return seconds;
}

absl::StatusOr<PhaseShares> FindPhaseShares(absl::Span<const PhaseTime> times,
                                            ProcessGroup& world) {
  PhaseShares shares = SumPhaseTimes(times);
  RETURN_IF_ERROR(
      world.AllReduce(ViewOf(absl::MakeSpan(shares)), ReduceOp::kSum));
  const double all = std::accumulate(shares.begin(), shares.end(), 0.0);
  for (double& share : shares) share = all > 0 ? share / all : 0;
  return shares;
}

}  // namespace moe
