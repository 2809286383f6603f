#ifndef TRAINER_PLAN_STEP_PLAN_H_
#define TRAINER_PLAN_STEP_PLAN_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>

#include "comm/mesh.h"
#include "moe/plan/plan_load.h"
#include "trainer/config/train_config.pb.h"

// A plan is a run: Trainer::TrainStep itself, over kernels that compute nothing
// (PlanKernels), memory that is addresses alone (PlanContext) and groups that
// count what they would send (PlanGroup), with as many rows as PlanLoad says.
// Arenas and counters then hold what a real step's do, and what is written for
// a step is planned with it.

namespace moe {

// Bytes that one rank sends to others, in its group of each axis.
class RankTraffic {
 public:
  int64_t operator[](Axis axis) const {
    return bytes_[static_cast<size_t>(axis)];
  }
  int64_t& operator[](Axis axis) { return bytes_[static_cast<size_t>(axis)]; }

 private:
  std::array<int64_t, std::size(kAllAxes)> bytes_ = {};
};

// One step of one rank.
struct StepPlan {
  // The most in use at once of each arena (Arena::peak_bytes): all of it that
  // is ever written to.
  int64_t saved_bytes = 0;    // what backward needs
  int64_t routing_bytes = 0;  // what routers chose, where kept apart (BLOCK)
  int64_t scratch_bytes = 0;  // what lives for one call
  // Rows that arrive at this rank's experts in all layers of a micro-step, of
  // those alike the fullest.
  int64_t received_rows = 0;
  RankTraffic traffic;
};

// Of a step without validation, logging, checkpoints and failures. What tokens
// choose is not known before: even load is that of router.force_balance, with
// which the plan is exact to the byte, unless a capacity drops rows: which
// ranks lose them is not foreseen. The process's record of what it does
// (activity.h) stays as it is. The configuration is resolved (ResolveConfig).
StepPlan PlanStep(const TrainConfig& config, const Mesh& mesh, int rank,
                  ExpertShare share = ExpertShare::kEven);

}  // namespace moe

#endif  // TRAINER_PLAN_STEP_PLAN_H_
