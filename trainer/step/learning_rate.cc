#include "trainer/step/learning_rate.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace moe {
namespace {

// How far update u is from update `begin` (0) to the last (1).
double Progress(const RunLength& length, int64_t update, int64_t begin) {
  if (update <= begin) return 0;
  if (update >= length.last_step()) return 1;
  const double from = length.After(begin);
  return (length.After(update) - from) /
         (length.After(length.last_step()) - from);
}

// How much of the way from the highest to the lowest rate is left.
double Remaining(const ScheduleConfig& schedule, const RunLength& length,
                 int64_t update) {
  const int64_t warm = std::max<int64_t>(1, schedule.warmup_steps());
  switch (schedule.decay()) {
    case ScheduleConfig::CONSTANT:
      return 1;
    case ScheduleConfig::LINEAR:
      return 1 - Progress(length, update, warm);
    case ScheduleConfig::COSINE:
      return 0.5 *
             (1 + std::cos(std::numbers::pi * Progress(length, update, warm)));
    case ScheduleConfig::WSD:
      return 1 - Progress(
                     length, update,
                     std::max(schedule.warmup_steps(),
                              length.CooldownBegin(schedule.cooldown_steps())));
  }
  return 1;
}

}  // namespace

double LearningRate(const ScheduleConfig& schedule,
                    const OptimizerConfig& optimizer, const RunLength& length,
                    int64_t update) {
  const double most = optimizer.learning_rate();
  if (update < schedule.warmup_steps()) {
    return most * static_cast<double>(update) /
           static_cast<double>(schedule.warmup_steps());
  }
  const double least = schedule.min_learning_rate();
  const double remaining = Remaining(schedule, length, update);
  return most * remaining + least * (1 - remaining);
}

}  // namespace moe
