#ifndef TRAINER_MEMORY_PLAN_H_
#define TRAINER_MEMORY_PLAN_H_

#include <cstdint>

#include "comm/mesh.h"
#include "trainer/train_config.pb.h"

namespace moe {

// What one rank of a run holds and sends, computed from the parameter table
// and the mesh without making any of it. Of the rank with the most sequences,
// with tokens spread evenly over the experts.

// Bytes of memory.
struct RankMemory {
  int64_t weights = 0;      // compute copies, all arenas
  int64_t gradients = 0;    // float32
  int64_t optimizer = 0;    // moments, and masters of bfloat16 weights
  int64_t activations = 0;  // kept from forward for backward
  int64_t scratch = 0;      // of single calls
  int64_t exchange = 0;     // messages that are not received in place
  int64_t process = 0;      // program, libraries, MPI
  int64_t Total() const;

  // What activations and scratch grow by, and keep, once the experts of this
  // rank get twice an even share of the rows, or all that a capacity lets in if
  // that is less.
  int64_t double_load = 0;
};

// Bytes that the rank sends to others in one step.
struct RankTraffic {
  int64_t dispatch = 0;              // rows and counts, in the expert group
  int64_t expert_gradients = 0;      // in the expert replica group
  int64_t expert_weights = 0;        //   and what comes back
  int64_t replicated_gradients = 0;  // in the world
  int64_t replicated_weights = 0;
};

// The configuration is resolved (ResolveConfig).
RankMemory PlanMemory(const TrainConfig& config, const Mesh& mesh);
RankTraffic PlanTraffic(const TrainConfig& config, const Mesh& mesh);

}  // namespace moe

#endif  // TRAINER_MEMORY_PLAN_H_
