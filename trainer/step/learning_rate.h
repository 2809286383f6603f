#ifndef TRAINER_STEP_LEARNING_RATE_H_
#define TRAINER_STEP_LEARNING_RATE_H_

#include <cstdint>

#include "trainer/config/run_length.h"
#include "trainer/config/train_config.pb.h"

namespace moe {

// The rate of update u, counted from 1, of a run whose last step is S.
// W = warmup_steps, at least 1:
//
//   u <= W   learning_rate u / W
//   u >  W   falls from learning_rate at u = W to min_learning_rate at u = S,
//            along a line or half a cosine (Loshchilov and Hutter, "SGDR",
//            2017); WSD stays level until S - cooldown_steps (Hu et al.,
//            "MiniCPM", 2024)
//
// The way from W to S counts steps, or in a run asked for in tokens the tokens
// of those steps: the same numbers where the batch never changed. Updates past
// S keep the last one's rate.
double LearningRate(const ScheduleConfig& schedule,
                    const OptimizerConfig& optimizer, const RunLength& length,
                    int64_t update);

}  // namespace moe

#endif  // TRAINER_STEP_LEARNING_RATE_H_
