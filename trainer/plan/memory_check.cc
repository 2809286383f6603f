#include "trainer/plan/memory_check.h"

#include "absl/strings/str_cat.h"
#include "trainer/config/units.h"
#include "trainer/plan/memory_plan.h"

namespace moe {
namespace {

// A plan is up to a fifth more than the ranks take in the end. Only what is
// more than that beyond the limit is sure not to fit: no run that fits is
// refused, and one that is refused would have swapped or been killed.
constexpr double kSurelyTooMuch = 1.2;

}  // namespace

absl::Status CheckMemory(const TrainConfig& config, const Mesh& mesh,
                         int local_ranks, const AvailableMemory& available) {
  if (!config.run().check_memory()) return absl::OkStatus();
  const RankMemory rank = PlanMeanMemory(config, mesh);
  // The programs have started: what they take is not available any more.
  const int64_t planned = (rank.Total() - rank.process) * local_ranks;
  if (static_cast<double>(planned) <=
      kSurelyTooMuch * static_cast<double>(available.bytes))
    return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat(
      "the memory of ", local_ranks, local_ranks == 1 ? " rank" : " ranks",
      " on one node would be ", FormatBytes(planned), ", must be at most ",
      FormatBytes(available.bytes), " (", available.source,
      "); --dry-run says what takes it, run.check_memory=false starts all the "
      "same"));
}

}  // namespace moe
