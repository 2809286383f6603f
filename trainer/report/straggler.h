#ifndef TRAINER_REPORT_STRAGGLER_H_
#define TRAINER_REPORT_STRAGGLER_H_

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "comm/process_group.h"

namespace moe {

// The rank that the others wait for.
struct Straggler {
  int rank = 0;
  // How much longer than it the others have waited, on average. 0 where there
  // is no other.
  double seconds = 0;
};

// `waited_seconds` by rank: who is slower than the others waits less.
Straggler FindStraggler(absl::Span<const double> waited_seconds);

// From this rank's time. Collective; the same on all ranks.
absl::StatusOr<Straggler> FindStraggler(double waited_seconds,
                                        ProcessGroup& world);

}  // namespace moe

#endif  // TRAINER_REPORT_STRAGGLER_H_
