#ifndef TRAINER_PLAN_MEMORY_PLAN_H_
#define TRAINER_PLAN_MEMORY_PLAN_H_

#include <cstdint>

#include "comm/mesh.h"
#include "trainer/config/train_config.pb.h"

namespace moe {

// Bytes of memory of one rank.
struct RankMemory {
  int64_t weights = 0;      // compute copies, all arenas
  int64_t masters = 0;      // float32, of bfloat16 weights; this rank's shard
  int64_t moments = 0;      // two of AdamW's; this rank's shard
  int64_t gradients = 0;    // float32, all arenas
  int64_t activations = 0;  // kept from forward for backward
  int64_t scratch = 0;      // of single calls
  int64_t exchange = 0;     // messages that are not received in place
  int64_t snapshot = 0;     // of a checkpoint while it is written; then kept
  int64_t process = 0;      // program, libraries, MPI
  int64_t Total() const;

  // The part of activations that other ranks send: the token rows, with their
  // routing weights, that all layers keep.
  int64_t received_rows = 0;
  // Double load: the experts of this rank get twice an even share of the rows,
  // or all that a capacity lets in if that is less. Those rows then, and what
  // activations and scratch grow by, and keep.
  int64_t received_rows_at_double_load = 0;
  int64_t double_load = 0;
};

// What the largest rank of a run holds: the one with the most sequences and the
// largest slice of the vocabulary, the last, with tokens spread evenly over the
// experts. Takes no memory of that size: parameters are counted in their table,
// activations and scratch, to the byte the most that is in the arenas, by a run
// of a step over addresses alone (PlanStep). The configuration is resolved
// (ResolveConfig).
RankMemory PlanMemory(const TrainConfig& config, const Mesh& mesh);

// What a rank of the run holds on average: times the ranks of a node, about
// what they hold together. Differs from PlanMemory where some ranks have fewer
// sequences than others or write less of a checkpoint.
RankMemory PlanMeanMemory(const TrainConfig& config, const Mesh& mesh);

}  // namespace moe

#endif  // TRAINER_PLAN_MEMORY_PLAN_H_
