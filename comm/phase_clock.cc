#include "comm/phase_clock.h"

namespace moe {

void PhaseClock::Leave(const Position& before) {
  const int64_t now = ClockNanos();
  PhaseTime& time = TimeOf(before.phase);
  time.nanos += now - since_ - waited_;
  time.waited_nanos += waited_;
  if (Tracing()) {
    AddTraceEvent({.name = Name(before.phase),
                   .position = before,
                   .begin = since_,
                   .end = now});
  }
  since_ = now;
  waited_ = 0;
}

void PhaseClock::Wait(const Position& position, const char* operation,
                      absl::string_view group, int64_t nanos) {
  TimeOf(Phase::kWaiting).nanos += nanos;
  waited_ += nanos;
  if (!Tracing()) return;
  const int64_t now = ClockNanos();
  TraceEvent event = {.kind = TraceEvent::Kind::kWait,
                      .name = operation,
                      .position = position,
                      .begin = now - nanos,
                      .end = now};
  SetGroup(event, group);
  AddTraceEvent(event);
}

std::vector<PhaseTime> PhaseClock::Take() {
  std::vector<PhaseTime> taken = times_;
  // Kept, so that steps allocate nothing.
  for (PhaseTime& time : times_) time = {.phase = time.phase};
  return taken;
}

// A dozen phases: a search is quicker than a table.
PhaseTime& PhaseClock::TimeOf(Phase phase) {
  for (PhaseTime& time : times_)
    if (time.phase == phase) return time;
  times_.push_back({.phase = phase});
  return times_.back();
}

}  // namespace moe
