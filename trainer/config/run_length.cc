#include "trainer/config/run_length.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "comm/base/check.h"

namespace moe {
namespace {

constexpr double kMostSteps = 1e15;
constexpr double kFewestSamples = 1e-9;

// The least n with n * divisor >= value; 0 where value <= 0.
int64_t Quotient(int64_t value, int64_t divisor) {
  return value <= 0 ? 0 : (value - 1) / divisor + 1;
}

double SamplesPerStep(const RunPosition& from, const RunPosition& to) {
  return static_cast<double>(to.samples - from.samples) /
         static_cast<double>(to.step - from.step);
}

}  // namespace

RunLength::RunLength(const TrainConfig& config, const RunPosition& begin,
                     std::vector<RunPosition> changes)
    : steps_(config.schedule().steps()),
      needed_samples_(Quotient(config.schedule().tokens(),
                               config.batch().sequence_length())),
      changes_(std::move(changes)) {
  const int64_t global_size = config.batch().global_size();
  CHECK(global_size >= 1);
  last_step_ =
      steps_ > 0
          ? std::max(steps_, begin.step)
          : begin.step + Quotient(needed_samples_ - begin.samples, global_size);
  MakePhases(begin, global_size);
}

void RunLength::MakePhases(const RunPosition& begin, int64_t global_size) {
  // A change after which no step was made is none.
  while (!changes_.empty() && changes_.back().step >= begin.step)
    changes_.pop_back();
  RunPosition from;
  for (const RunPosition& change : changes_) {
    phases_.push_back({from, SamplesPerStep(from, change)});
    from = change;
  }
  const auto now = static_cast<double>(global_size);
  if (begin.step > from.step && SamplesPerStep(from, begin) != now) {
    phases_.push_back({from, SamplesPerStep(from, begin)});
    from = begin;
    changes_.push_back(begin);
  }
  phases_.push_back({from, now});
}

double RunLength::After(int64_t step) const {
  if (steps_ > 0) return static_cast<double>(step);
  size_t i = phases_.size() - 1;
  while (i > 0 && phases_[i].begin.step > step) --i;
  const auto& [begin, samples_per_step] = phases_[i];
  return static_cast<double>(begin.samples) +
         static_cast<double>(step - begin.step) * samples_per_step;
}

int64_t RunLength::CooldownBegin(int64_t cooldown_steps) const {
  if (steps_ > 0) return steps_ - cooldown_steps;
  for (size_t i = 0;; ++i) {
    const auto& [begin, samples_per_step] = phases_[i];
    // In a past that a checkpoint tells of, steps may have taken no samples.
    const double missing =
        static_cast<double>(needed_samples_ - begin.samples) /
        std::max(samples_per_step, kFewestSamples);
    const int64_t last =
        begin.step +
        static_cast<int64_t>(std::ceil(std::clamp(missing, 0.0, kMostSteps)));
    const int64_t first = std::max(last - cooldown_steps, begin.step);
    if (i + 1 == phases_.size() || first <= phases_[i + 1].begin.step)
      return first;
  }
}

}  // namespace moe
