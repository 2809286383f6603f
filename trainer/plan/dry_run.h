#ifndef TRAINER_PLAN_DRY_RUN_H_
#define TRAINER_PLAN_DRY_RUN_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "comm/mesh.h"
#include "moe/model_config.h"
#include "trainer/config/train_config.pb.h"
#include "trainer/plan/memory_plan.h"
#include "trainer/plan/step_plan.h"

namespace moe {

// What a run would be, found out without running it, for any number of ranks.
struct DryRun {
  TrainConfig config;  // resolved
  Mesh mesh;
  ParameterCounts parameters;
  int64_t tokens_per_step = 0;
  int64_t sequences_per_rank = 0;  // the most that a data rank has in a step
  int64_t micro_steps = 0;
  RankMemory memory;           // of the largest rank
  RankTraffic traffic;         // of the last rank, which has the most sequences
  double flops_per_token = 0;  // ModelFlopsPerToken
  double recomputed_flops_per_token = 0;
};

// Checks the configuration for `world` ranks first.
absl::StatusOr<DryRun> MakeDryRun(const TrainConfig& config, int world);

// For a person to read.
std::string DryRunText(const DryRun& run);

}  // namespace moe

#endif  // TRAINER_PLAN_DRY_RUN_H_
