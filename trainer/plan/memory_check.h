#ifndef TRAINER_PLAN_MEMORY_CHECK_H_
#define TRAINER_PLAN_MEMORY_CHECK_H_

#include "absl/status/status.h"
#include "comm/mesh.h"
#include "trainer/config/train_config.pb.h"
#include "trainer/plan/available_memory.h"

namespace moe {

// ResourceExhausted: the `local_ranks` ranks of this node would take more than
// it has, as far as can be said before they take it (PlanMeanMemory); says how
// much, and the limit. OK where run.check_memory is false. The configuration is
// resolved.
absl::Status CheckMemory(const TrainConfig& config, const Mesh& mesh,
                         int local_ranks, const AvailableMemory& available);

}  // namespace moe

#endif  // TRAINER_PLAN_MEMORY_CHECK_H_
