#ifndef TRAINER_CONFIG_CONFIG_RESOLVE_H_
#define TRAINER_CONFIG_CONFIG_RESOLVE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "comm/base/dtype.h"
#include "moe/recompute.h"
#include "trainer/config/train_config.pb.h"

namespace moe {

// A valid configuration with every value chosen that was left to the program:
// run.threads, model.head_dim, model.max_position_embeddings, batch.micro_size
// and parallel.expert. Resolving twice changes nothing. `world` ranks, each
// with `cores_per_rank`.
absl::StatusOr<TrainConfig> ResolveConfig(const TrainConfig& config, int world,
                                          int cores_per_rank);

// schedule.steps, or as many whole steps as schedule.tokens need with this
// batch from the beginning; see RunLength for a run that has had others.
int64_t StepsOf(const TrainConfig& config);

// run.compute_dtype.
DType ComputeDType(const TrainConfig& config);

// run.recompute.
Recompute RecomputeOf(const TrainConfig& config);
// run.expert_chunk_rows, or what it stands for when it is 0.
int64_t MaxExpertRows(const TrainConfig& config);

// What is allowed and yet perhaps not wanted, one sentence each.
std::vector<std::string> ConfigWarnings(const TrainConfig& config, int world);

}  // namespace moe

#endif  // TRAINER_CONFIG_CONFIG_RESOLVE_H_
