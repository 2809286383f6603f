#include "trainer/report/straggler.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "comm/base/status_macros.h"

namespace moe {

Straggler FindStraggler(absl::Span<const double> waited_seconds) {
  if (waited_seconds.size() < 2) return {};
  const auto least =
      std::min_element(waited_seconds.begin(), waited_seconds.end());
  const double all =
      std::accumulate(waited_seconds.begin(), waited_seconds.end(), 0.0);
  const double others = static_cast<double>(waited_seconds.size() - 1);
  return {.rank = static_cast<int>(least - waited_seconds.begin()),
          .seconds = (all - *least) / others - *least};
}

absl::StatusOr<Straggler> FindStraggler(double waited_seconds,
                                        ProcessGroup& world) {
  std::vector<double> all(static_cast<size_t>(world.size()));
  RETURN_IF_ERROR(
      world.AllGather(ViewOf(absl::MakeConstSpan(&waited_seconds, 1)),
                      ViewOf(absl::MakeSpan(all))));
  return FindStraggler(all);
}

}  // namespace moe
