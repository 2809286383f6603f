#ifndef COMM_TRACE_H_
#define COMM_TRACE_H_

#include <array>
#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"
#include "comm/activity.h"
#include "comm/monotonic_time.h"

namespace moe {

// What the thread that trains did and when, kept in memory while a trace is on.
// activity.cc and mpi_work.cc add to it; nobody else needs to.

struct TraceEvent {
  enum class Kind {
    kStage,  // in a stage, from one change of position to the next
    kWait,   // waiting for others, within a stage
    kWork,   // a collective, from its start until it is complete; they overlap
  };
  // Counts that explain how long it took: rows of a dispatch.
  struct Number {
    const char* name = nullptr;  // a literal; null: none
    int64_t value = 0;
  };

  Kind kind = Kind::kStage;
  const char* name = "";            // a literal: the stage, or the operation
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
// Adds a count to the stage that the calling thread is in, unless it rehearses.
void TraceNumber(const char* name, int64_t value);
// Ends the trace. `dropped`: events beyond the capacity.
std::vector<TraceEvent> TakeTrace(int64_t* dropped);

// Time in a stage, without waiting for others; all waiting is a stage of its
// own, "waiting".
struct StageTime {
  const char* stage = "";  // a literal; several may have the same text
  int64_t nanos = 0;
  // Of "waiting", the part that was waited in this stage.
  int64_t waited_nanos = 0;
};
// Since the last call, or the start of the process.
std::vector<StageTime> TakeStageTimes();

}  // namespace moe

#endif  // COMM_TRACE_H_
