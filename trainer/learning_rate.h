#ifndef TRAINER_LEARNING_RATE_H_
#define TRAINER_LEARNING_RATE_H_

#include <cstdint>

#include "trainer/train_config.pb.h"

namespace moe {

// The rate of update u, counted from 1, of a run of S = schedule.steps (which
// ResolveConfig has set). W = warmup_steps, at least 1:
//
//   u <= W   learning_rate u / W
//   u >  W   falls from learning_rate at u = W to min_learning_rate at u = S,
//            along a line or half a cosine (Loshchilov and Hutter, "SGDR",
//            2017); WSD stays level until S - cooldown_steps (Hu et al.,
//            "MiniCPM", 2024)
//
// Updates past S keep the last one's rate.
double LearningRate(const ScheduleConfig& schedule,
                    const OptimizerConfig& optimizer, int64_t update);

}  // namespace moe

#endif  // TRAINER_LEARNING_RATE_H_
