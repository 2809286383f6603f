#ifndef TRAINER_TRAFFIC_PLAN_H_
#define TRAINER_TRAFFIC_PLAN_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>

#include "comm/mesh.h"
#include "trainer/train_config.pb.h"

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

// What `rank` sends in one training step, to the byte what its groups'
// TrafficCounters count: every collective of Trainer::TrainStep, without
// validation, logging, checkpoints and failures. What tokens choose is not
// known before: the plan spreads each rank's choices over the experts as
// router.force_balance does, with which it is exact unless a capacity drops
// rows: which ranks lose them is not foreseen, each is given the same share.
// The configuration is resolved (ResolveConfig).
RankTraffic PlanTraffic(const TrainConfig& config, const Mesh& mesh, int rank);

}  // namespace moe

#endif  // TRAINER_TRAFFIC_PLAN_H_
