#ifndef COMM_PHASE_CLOCK_H_
#define COMM_PHASE_CLOCK_H_

#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"
#include "comm/activity.h"
#include "comm/phase.h"
#include "comm/trace.h"

namespace moe {

// Measures how long a thread is in each phase. A phase's time is its own: what
// it waits for others is counted apart.
class PhaseClock {
 public:
  PhaseClock() : since_(ClockNanos()) {}

  // The thread leaves `before` for another position.
  void Leave(const Position& before);
  // It has waited for so long, until now.
  void Wait(const Position& position, const char* operation,
            absl::string_view group, int64_t nanos);
  // Sums since the last call; of the phase that it is in, what is over.
  std::vector<PhaseTime> Take();

 private:
  PhaseTime& TimeOf(Phase phase);

  std::vector<PhaseTime> times_;
  int64_t since_;
  int64_t waited_ = 0;  // since then
};

}  // namespace moe

#endif  // COMM_PHASE_CLOCK_H_
