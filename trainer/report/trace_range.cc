#include "trainer/report/trace_range.h"

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "comm/base/status_macros.h"
#include "comm/mpi/roster.h"
#include "comm/process_groups.h"

namespace moe {
namespace {

// Of 112 bytes each; a step of a large model has some thousands.
constexpr size_t kMaxEvents = size_t{1} << 18;
constexpr int kStageRow = 0;
constexpr int kCommunicationRow = 1;
// Rounds of asking rank 0 for its clock: the quickest is the best.
constexpr int kClockRounds = 30;

using Json = nlohmann::ordered_json;

// Equal on ranks of one host, whose clocks are one.
int64_t HostDigest() {
  return static_cast<int64_t>(std::hash<std::string>()(ThisMember().host) >> 1);
}

// What rank 0's clock is ahead of this one's. Between a barrier that it has
// entered and the arrival of what it read after it lies its reading, which is
// taken for the middle: wrong by at most half of the time in between.
absl::StatusOr<int64_t> ClockOffset(ProcessGroup& world) {
  int64_t host = HostDigest();
  RETURN_IF_ERROR(world.Broadcast(ViewOf(absl::MakeSpan(&host, 1)), 0));
  int64_t offset = 0;
  int64_t narrowest = std::numeric_limits<int64_t>::max();
  for (int round = 0; round < kClockRounds; ++round) {
    const int64_t before = ClockNanos();
    RETURN_IF_ERROR(world.Barrier());
    int64_t clock_of_zero = ClockNanos();
    RETURN_IF_ERROR(
        world.Broadcast(ViewOf(absl::MakeSpan(&clock_of_zero, 1)), 0));
    const int64_t after = ClockNanos();
    if (after - before >= narrowest) continue;
    narrowest = after - before;
    offset = clock_of_zero - (before + after) / 2;
  }
  return host == HostDigest() ? 0 : offset;
}

Json Arguments(const TraceEvent& event) {
  Json arguments = {{"step", event.position.step}};
  if (event.position.layer >= 0) arguments["layer"] = event.position.layer;
  if (event.kind != TraceEvent::Kind::kPhase) {
    arguments["group"] = event.group.data();
    arguments["stage"] = Name(event.position.phase);
  }
  if (event.kind == TraceEvent::Kind::kWork) arguments["bytes"] = event.bytes;
  for (const TraceEvent::Number& number : event.numbers)
    if (number.name != nullptr) arguments[number.name] = number.value;
  return arguments;
}

Json NameOf(const char* what, int rank, int row, const std::string& name) {
  return {{"ph", "M"},
          {"name", what},
          {"pid", rank},
          {"tid", row},
          {"args", {{"name", name}}}};
}

}  // namespace

std::string TraceJson(const std::vector<TraceEvent>& events, int rank,
                      int64_t origin, int64_t clock_offset) {
  const auto micros = [&](int64_t nanos) {
    return static_cast<double>(nanos + clock_offset - origin) / 1000;
  };
  Json all = Json::array();
  all.push_back(NameOf("process_name", rank, 0, absl::StrCat("rank ", rank)));
  all.push_back(NameOf("thread_name", rank, kStageRow, "stages"));
  all.push_back(
      NameOf("thread_name", rank, kCommunicationRow, "communication"));
  int64_t number = 0;
  for (const TraceEvent& event : events) {
    Json entry = {{"name", event.name},
                  {"pid", rank},
                  {"tid", kStageRow},
                  {"ts", micros(event.begin)},
                  {"args", Arguments(event)}};
    if (event.kind != TraceEvent::Kind::kWork) {
      entry["ph"] = "X";
      entry["cat"] =
          event.kind == TraceEvent::Kind::kWait ? "waiting" : "stage";
      entry["dur"] = static_cast<double>(event.end - event.begin) / 1000;
      all.push_back(std::move(entry));
      continue;
    }
    // Collectives overlap: a pair of asynchronous events each.
    entry["tid"] = kCommunicationRow;
    entry["cat"] = "communication";
    entry["id"] = absl::StrCat(rank, ".", number++);
    entry["ph"] = "b";
    Json end = entry;
    end["ph"] = "e";
    end["ts"] = micros(event.end);
    end.erase("args");
    all.push_back(std::move(entry));
    all.push_back(std::move(end));
  }
  return Json({{"displayTimeUnit", "ms"},
               {"metadata", {{"clock_offset_ns", clock_offset}}},
               {"traceEvents", std::move(all)}})
      .dump();
}

absl::Status TraceRange::BeforeStep(int64_t step) {
  if (begun_step_ != 0 || !range_.contains(step)) return absl::OkStatus();
  ASSIGN_OR_RETURN(clock_offset_, ClockOffset(world_));
  origin_ = ClockNanos();
  RETURN_IF_ERROR(world_.Broadcast(ViewOf(absl::MakeSpan(&origin_, 1)), 0));
  begun_step_ = step;
  StartTrace(kMaxEvents);
  return absl::OkStatus();
}

absl::Status TraceRange::AfterStep(int64_t step, bool over, bool* written) {
  *written = false;
  if (begun_step_ == 0 || !Tracing() || (step < range_.last && !over))
    return absl::OkStatus();
  int64_t dropped = 0;
  const std::vector<TraceEvent> events = TakeTrace(&dropped);
  absl::Status status = files_.MakeDirectories(directory_);
  if (status.ok()) {
    status = WriteFileAtomically(
        files_,
        JoinPath(directory_, absl::StrCat("step_", begun_step_, "_to_", step,
                                          "_rank_", world_.rank(), ".json")),
        TraceJson(events, world_.rank(), origin_, clock_offset_));
  }
  if (status.ok() && dropped > 0) {
    status = absl::AbortedError(absl::StrCat(
        dropped, " events of the trace were left out, beyond ", kMaxEvents));
  }
  status = AgreeOnStatus(status, world_);
  *written = status.ok();
  return status;
}

}  // namespace moe
