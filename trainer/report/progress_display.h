#ifndef TRAINER_REPORT_PROGRESS_DISPLAY_H_
#define TRAINER_REPORT_PROGRESS_DISPLAY_H_

#include <cstdint>
#include <cstdio>
#include <string>

#include "absl/time/time.h"
#include "trainer/report/metrics.h"

namespace moe {

// Whether standard error ends at a person's terminal. Under mpirun isatty does
// not tell: launch/run.sh does, by MOE_TERMINAL=1 or 0, else the launcher's
// own standard error is looked at.
bool ErrorsGoToTerminal();

// What one rank shows on standard error while it works: on a terminal one line
// that is drawn over itself, else a line now and then.
class ProgressDisplay {
 public:
  // A display that is not `enabled` (every rank but 0) shows nothing.
  ProgressDisplay(bool enabled, bool terminal)
      : enabled_(enabled), terminal_(terminal) {}
  ~ProgressDisplay();

  // A line that stays.
  void Say(const std::string& line);
  // Long preparations: "tokenizing kjv.txt  45 %". Without a terminal at most
  // every ten seconds.
  void Preparation(const std::string& what, int64_t done, int64_t total);
  // A logged step of `num_steps`.
  void Step(const StepReport& report, const StepCost& cost, int64_t num_steps);

 private:
  void Draw(const std::string& line);
  void Erase();

  bool enabled_;
  bool terminal_;
  bool drawn_ = false;
  std::string last_what_;
  // MonotonicTime of both.
  absl::Duration last_preparation_ = -absl::InfiniteDuration();
  absl::Duration first_step_time_;
  int64_t first_step_ = 0;
};

// "step 12/300  loss 6.1234  aux 4.021  grad 1.23  lr 0.003  9,876 tok/s  mfu
// 31.2 %  0:01:23 left"; "skipped" in place of the numbers of a skipped step,
// "none" in place of a loss that is not finite or not there, as that of a batch
// without a target.
std::string StepLine(const StepReport& report, const StepCost& cost,
                     int64_t num_steps, absl::Duration left);

}  // namespace moe

#endif  // TRAINER_REPORT_PROGRESS_DISPLAY_H_
