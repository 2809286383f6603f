#ifndef TRAINER_RUN_RANK_ZERO_WORK_H_
#define TRAINER_RUN_RANK_ZERO_WORK_H_

#include <functional>

#include "absl/status/status.h"
#include "comm/process_group.h"

namespace moe {

// Runs `work` on rank 0, on a thread of its own, while the other ranks wait
// for as long as it takes: rank 0 tells them every second that it lives, so
// that no collective's timeout ends a long preparation. `work` calls no
// collective. Returns its status on all ranks; ResourceExhausted: there is no
// thread for it. Collective.
absl::Status RunOnRankZero(const std::function<absl::Status()>& work,
                           ProcessGroup& world);

}  // namespace moe

#endif  // TRAINER_RUN_RANK_ZERO_WORK_H_
