#include "trainer/stage_shares.h"

#include <numeric>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "comm/status_macros.h"

namespace moe {
namespace {

size_t IndexOf(absl::string_view stage) {
  if (stage == "row counts") stage = "dispatch";
  for (size_t i = 0; i < kTimedStages.size(); ++i)
    if (absl::StartsWith(stage, kTimedStages[i])) return i;
  return kTimedStages.size();
}

}  // namespace

const char* StageShareName(size_t index) {
  return index < kTimedStages.size() ? kTimedStages[index] : "other";
}

StageShares SumStageTimes(absl::Span<const StageTime> times) {
  StageShares seconds = {};
  for (const StageTime& time : times)
    seconds[IndexOf(time.stage)] += static_cast<double>(time.nanos) * 1e-9;
  return seconds;
}

StageShares SumStageWaits(absl::Span<const StageTime> times) {
  StageShares seconds = {};
  for (const StageTime& time : times)
    seconds[IndexOf(time.stage)] +=
        static_cast<double>(time.waited_nanos) * 1e-9;
  return seconds;
}

absl::StatusOr<StageShares> FindStageShares(absl::Span<const StageTime> times,
                                            ProcessGroup& world) {
  StageShares shares = SumStageTimes(times);
  RETURN_IF_ERROR(
      world.AllReduce(ViewOf(absl::MakeSpan(shares)), ReduceOp::kSum));
  const double all = std::accumulate(shares.begin(), shares.end(), 0.0);
  for (double& share : shares) share = all > 0 ? share / all : 0;
  return shares;
}

}  // namespace moe
