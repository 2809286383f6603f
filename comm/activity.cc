#include "comm/activity.h"

#include <mutex>

#include "absl/strings/str_cat.h"
#include "comm/base/check.h"
#include "comm/phase_clock.h"
#include "comm/trace.h"

namespace moe {
namespace {

// One for the process, like the thread whose doings it holds. The lock is free
// but for the moments, some a second, when the watchdog copies it.
struct Record {
  std::mutex mutex;
  Activity activity;
  absl::Duration waited;
  // Without the lock: of the thread that trains.
  PhaseClock clock;
  Position* rehearsed = nullptr;  // of the rehearsal, if there is one
};

Record& TheRecord() {
  static Record* const record = new Record;  // read until the process ends
  return *record;
}

void SetPosition(const Position& position) {
  Record& record = TheRecord();
  if (record.rehearsed != nullptr) {
    *record.rehearsed = position;
    return;
  }
  record.clock.Leave(record.activity.position);
  const std::lock_guard<std::mutex> lock(record.mutex);
  record.activity.position = position;
  ++record.activity.changes;
}

}  // namespace

std::string ToString(const Position& position) {
  std::string text;
  if (position.step > 0) absl::StrAppend(&text, "step ", position.step, ", ");
  if (position.layer >= 0)
    absl::StrAppend(&text, "layer ", position.layer, ", ");
  return absl::StrCat(text, Name(position.phase));
}

Position CurrentPosition() {
  // Written by the calling thread alone: it needs no lock to read.
  const Record& record = TheRecord();
  return record.rehearsed != nullptr ? *record.rehearsed
                                     : record.activity.position;
}

void SetStep(int64_t step) {
  Position position = CurrentPosition();
  position.step = step;
  SetPosition(position);
}

PhaseScope::PhaseScope(Phase phase) : before_(CurrentPosition()) {
  SetPosition({.step = before_.step, .layer = before_.layer, .phase = phase});
}

PhaseScope::PhaseScope(Phase phase, int layer) : before_(CurrentPosition()) {
  SetPosition({.step = before_.step, .layer = layer, .phase = phase});
}

PhaseScope::~PhaseScope() {
  // A step that began inside goes on.
  before_.step = CurrentPosition().step;
  SetPosition(before_);
}

void PhaseScope::Enter(Phase phase) {
  Position position = CurrentPosition();
  position.phase = phase;
  SetPosition(position);
}

RehearsalScope::RehearsalScope() : position_(CurrentPosition()) {
  CHECK(!Rehearsing());
  TheRecord().rehearsed = &position_;
}

RehearsalScope::~RehearsalScope() { TheRecord().rehearsed = nullptr; }

bool Rehearsing() { return TheRecord().rehearsed != nullptr; }

std::string ToString(const WaitRecord& wait) {
  std::string text = wait.operation;
  if (wait.sequence > 0) absl::StrAppend(&text, " ", wait.sequence);
  absl::StrAppend(&text, " in group ", wait.group, " (",
                  ToString(wait.position), ")");
  if (wait.expected_bytes > 0) {
    absl::StrAppend(&text, ", ", wait.arrived_bytes, " of ",
                    wait.expected_bytes, " bytes arrived");
  }
  for (int i = 0; i < wait.num_missing && i < WaitRecord::kMostMissing; ++i) {
    const MissingRank& missing = wait.missing[static_cast<size_t>(i)];
    absl::StrAppend(&text, i == 0 ? ", waiting for rank " : ", ", missing.rank,
                    " (", missing.num_bytes, " bytes)");
  }
  if (wait.num_missing > WaitRecord::kMostMissing)
    absl::StrAppend(&text, " and ", wait.num_missing - WaitRecord::kMostMissing,
                    " more");
  return text;
}

void BeginWait(const WaitRecord& wait) {
  Record& record = TheRecord();
  const std::lock_guard<std::mutex> lock(record.mutex);
  record.activity.waits = true;
  record.activity.wait = wait;
  ++record.activity.changes;
}

void UpdateWait(const WaitRecord& wait) {
  Record& record = TheRecord();
  const std::lock_guard<std::mutex> lock(record.mutex);
  record.activity.wait = wait;
}

void EndWait(absl::Duration waited) {
  Record& record = TheRecord();
  const WaitRecord& wait = record.activity.wait;
  record.clock.Wait(record.activity.position,
                    record.activity.waits ? wait.operation : "a short wait",
                    record.activity.waits ? wait.group : std::string(),
                    absl::ToInt64Nanoseconds(waited));
  const std::lock_guard<std::mutex> lock(record.mutex);
  if (record.activity.waits) ++record.activity.changes;
  record.activity.waits = false;
  record.waited += waited;
}

Activity CurrentActivity() {
  Record& record = TheRecord();
  const std::lock_guard<std::mutex> lock(record.mutex);
  return record.activity;
}

std::vector<PhaseTime> TakePhaseTimes() { return TheRecord().clock.Take(); }

absl::Duration TimeWaited() {
  Record& record = TheRecord();
  const std::lock_guard<std::mutex> lock(record.mutex);
  return record.waited;
}

}  // namespace moe
