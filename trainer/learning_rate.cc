#include "trainer/learning_rate.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace moe {
namespace {

// How far update u is from `begin` (0) to `end` (1).
double Progress(int64_t update, int64_t begin, int64_t end) {
  if (update <= begin) return 0;
  return std::min(1.0, static_cast<double>(update - begin) /
                           static_cast<double>(end - begin));
}

// How much of the way from the highest to the lowest rate is left.
double Remaining(const ScheduleConfig& schedule, int64_t update) {
  const int64_t steps = schedule.steps();
  const int64_t warm = std::max<int64_t>(1, schedule.warmup_steps());
  switch (schedule.decay()) {
    case ScheduleConfig::CONSTANT:
      return 1;
    case ScheduleConfig::LINEAR:
      return 1 - Progress(update, warm, steps);
    case ScheduleConfig::COSINE:
      return 0.5 *
             (1 + std::cos(std::numbers::pi * Progress(update, warm, steps)));
    case ScheduleConfig::WSD:
      return 1 - Progress(update, steps - schedule.cooldown_steps(), steps);
  }
  return 1;
}

}  // namespace

double LearningRate(const ScheduleConfig& schedule,
                    const OptimizerConfig& optimizer, int64_t update) {
  const double most = optimizer.learning_rate();
  if (update < schedule.warmup_steps()) {
    return most * static_cast<double>(update) /
           static_cast<double>(schedule.warmup_steps());
  }
  const double least = schedule.min_learning_rate();
  const double remaining = Remaining(schedule, update);
  return most * remaining + least * (1 - remaining);
}

}  // namespace moe
