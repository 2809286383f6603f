#ifndef COMM_TRACE_H_
#define COMM_TRACE_H_

#include <array>
#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"
#include "comm/activity.h"
#include "comm/base/monotonic_time.h"
#include "comm/phase.h"

namespace moe {

// What the thread that trains did and when, kept in memory while a trace is on.
// activity.cc and mpi_work.cc add to it; nobody else needs to.

struct TraceEvent {
  enum class Kind {
    kPhase,  // in a phase, from one change of position to the next
    kWait,   // waiting for others, within a phase
    kWork,   // a collective, from its start until it is complete; they overlap
  };
  // Counts that explain how long it took: rows of a dispatch.
  struct Number {
    const char* name = nullptr;  // a literal; null: none
    int64_t value = 0;
  };

  Kind kind = Kind::kPhase;
  const char* name = "";            // a literal: the phase, or the operation
  std::array<char, 16> group = {};  // of a wait or collective; cut if longer
  Position position;
  int64_t begin = 0;  // ClockNanos
  int64_t end = 0;
  int64_t bytes = 0;  // that a collective received
  std::array<Number, 2> numbers = {};
};

void SetGroup(TraceEvent& event, absl::string_view group);

// From now on events are kept, up to `capacity` of them.
void StartTrace(size_t capacity);
bool Tracing();
void AddTraceEvent(const TraceEvent& event);
// Adds a count to the phase that the calling thread is in, unless it rehearses.
void TraceNumber(const char* name, int64_t value);
// Ends the trace. `dropped`: events beyond the capacity.
std::vector<TraceEvent> TakeTrace(int64_t* dropped);

// Time in a phase, without waiting for others; all waiting is a phase of its
// own, kWaiting.
struct PhaseTime {
  Phase phase = Phase::kStart;
  int64_t nanos = 0;
  // Of kWaiting, the part that was waited in this phase.
  int64_t waited_nanos = 0;
};
// Since the last call, or the start of the process.
std::vector<PhaseTime> TakePhaseTimes();

}  // namespace moe

#endif  // COMM_TRACE_H_
