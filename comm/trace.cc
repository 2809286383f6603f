#include "comm/trace.h"

#include <algorithm>
#include <utility>

namespace moe {
namespace {

// Of the one thread that trains.
struct Trace {
  bool on = false;
  int64_t since = 0;
  size_t capacity = 0;
  std::vector<TraceEvent> events;
  int64_t dropped = 0;
  // Of the phase that the thread is in.
  std::array<TraceEvent::Number, 2> numbers;
};

Trace& TheTrace() {
  static Trace* const trace = new Trace;
  return *trace;
}

}  // namespace

void SetGroup(TraceEvent& event, absl::string_view group) {
  group.copy(event.group.data(), event.group.size() - 1);
}

void StartTrace(size_t capacity) {
  Trace& trace = TheTrace();
  trace.events.clear();
  trace.events.reserve(capacity);  // no allocation between the phases
  trace.capacity = capacity;
  trace.dropped = 0;
  trace.numbers = {};
  trace.since = ClockNanos();
  trace.on = true;
}

bool Tracing() { return TheTrace().on; }

void AddTraceEvent(const TraceEvent& event) {
  Trace& trace = TheTrace();
  if (!trace.on) return;
  if (trace.events.size() == trace.capacity) {
    ++trace.dropped;
    return;
  }
  trace.events.push_back(event);
  trace.events.back().begin = std::max(event.begin, trace.since);
  if (event.kind == TraceEvent::Kind::kPhase)
    trace.events.back().numbers = std::exchange(trace.numbers, {});
}

void TraceNumber(const char* name, int64_t value) {
  Trace& trace = TheTrace();
  if (!trace.on || Rehearsing()) return;
  for (TraceEvent::Number& number : trace.numbers) {
    if (number.name != nullptr) continue;
    number = {name, value};
    return;
  }
}

std::vector<TraceEvent> TakeTrace(int64_t* dropped) {
  Trace& trace = TheTrace();
  trace.on = false;
  *dropped = trace.dropped;
  return std::exchange(trace.events, {});
}

}  // namespace moe
