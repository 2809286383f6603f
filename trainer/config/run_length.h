#ifndef TRAINER_CONFIG_RUN_LENGTH_H_
#define TRAINER_CONFIG_RUN_LENGTH_H_

#include <cstdint>
#include <vector>

#include "trainer/config/train_config.pb.h"

namespace moe {

// Steps that a run has done, and the samples that they took.
struct RunPosition {
  int64_t step = 0;
  int64_t samples = 0;
};

// How long a run is and how far it is after each step. A run that was asked for
// in steps is measured in steps. One that was asked for in tokens is measured
// in samples, since its batches may become larger or smaller on the way: it
// ends with the first step that reaches schedule.tokens.
class RunLength {
 public:
  // `begin`: where the run goes on. `changes`: where before that
  // batch.global_size became another, in rising order; the beginning of the run
  // is not among them. The configuration holds now, from `begin` on.
  explicit RunLength(const TrainConfig& config, const RunPosition& begin = {},
                     std::vector<RunPosition> changes = {});

  // At least the step of `begin`: with that there is nothing left to train.
  int64_t last_step() const { return last_step_; }

  // How far the run is after a step, of the past or the future: in steps or in
  // samples. The same batch in all steps makes all quotients of differences the
  // same double in both.
  double After(int64_t step) const;

  // After which step the last `cooldown_steps` begin. In a run in tokens the
  // batch of the time tells how far the end is; a cool-down that has begun goes
  // on to the end whatever the batch becomes.
  int64_t CooldownBegin(int64_t cooldown_steps) const;

  // Those of the constructor, and `begin` if the batch has changed there.
  const std::vector<RunPosition>& changes() const { return changes_; }

 private:
  // Steps of one batch size, up to where the next phase begins.
  struct Phase {
    RunPosition begin;
    double samples_per_step = 0;
  };
  void MakePhases(const RunPosition& begin, int64_t global_size);

  int64_t steps_;           // 0: asked for in tokens
  int64_t needed_samples_;  // for schedule.tokens
  int64_t last_step_;
  std::vector<RunPosition> changes_;
  std::vector<Phase> phases_;  // at least one
};

}  // namespace moe

#endif  // TRAINER_CONFIG_RUN_LENGTH_H_
