#include "comm/stage_clock.h"

namespace moe {

void StageClock::Leave(const Position& before) {
  const int64_t now = ClockNanos();
  StageTime& time = TimeOf(before.stage);
  time.nanos += now - since_ - waited_;
  time.waited_nanos += waited_;
  if (Tracing()) {
    AddTraceEvent({.name = before.stage,
                   .position = before,
                   .begin = since_,
                   .end = now});
  }
  since_ = now;
  waited_ = 0;
}

void StageClock::Wait(const Position& position, const char* operation,
                      absl::string_view group, int64_t nanos) {
  TimeOf("waiting").nanos += nanos;
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

std::vector<StageTime> StageClock::Take() {
  std::vector<StageTime> taken = times_;
  // Kept, so that steps allocate nothing.
  for (StageTime& time : times_) time = {.stage = time.stage};
  return taken;
}

// A dozen stages: a search is quicker than a table.
StageTime& StageClock::TimeOf(const char* stage) {
  for (StageTime& time : times_)
    if (time.stage == stage) return time;
  times_.push_back({.stage = stage});
  return times_.back();
}

}  // namespace moe
