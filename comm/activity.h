#ifndef COMM_ACTIVITY_H_
#define COMM_ACTIVITY_H_

#include <array>
#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "comm/phase.h"

namespace moe {

// What this process is doing, kept by the one thread that trains and calls MPI
// and read by others: by the watchdog when a rank is lost or late, by errors
// that say where they happened, by the tags of messages (see mpi_group.cc).

// Where in the run the process is.
struct Position {
  int64_t step = 0;  // the first is 1; 0: before it
  int layer = -1;    // -1: outside the layers
  Phase phase = Phase::kStart;
};
// "step 12, layer 3, dispatch"; what does not apply is left out.
std::string ToString(const Position& position);

Position CurrentPosition();
void SetStep(int64_t step);

// In a phase of the run until the end of a C++ scope, then again where it was
// before. All ranks of a group come to each of their collectives in the same
// step, layer and phase.
class PhaseScope {
 public:
  explicit PhaseScope(Phase phase);  // in the layer of before
  PhaseScope(Phase phase, int layer);
  ~PhaseScope();
  PhaseScope(const PhaseScope&) = delete;
  PhaseScope& operator=(const PhaseScope&) = delete;

  // In another one from here on.
  void Enter(Phase phase);

 private:
  Position before_;
};

// For its lifetime the calling thread only rehearses: a plan runs the code of a
// step without doing any of it. Positions are apart then, and the process's
// record, its clock of phases and its trace stay as they are. One at a time.
class RehearsalScope {
 public:
  RehearsalScope();
  ~RehearsalScope();
  RehearsalScope(const RehearsalScope&) = delete;
  RehearsalScope& operator=(const RehearsalScope&) = delete;

 private:
  Position position_;
};
bool Rehearsing();

// A rank that a wait has not heard from.
struct MissingRank {
  int rank = -1;          // of the world
  int64_t num_bytes = 0;  // that are still to come, or to be taken
};

// What the process waits for.
struct WaitRecord {
  static constexpr int kMostMissing = 4;

  const char* operation = "";  // a literal: "all-to-all-v"
  std::string group;           // "expert"
  int first_rank = 0;          // of the group, in the world
  // Collectives of the group up to this one, and what it is: the same on all
  // ranks of the group, or they are in different collectives. 0: no collective
  // of ours.
  int64_t sequence = 0;
  uint32_t signature = 0;
  Position position;
  int64_t expected_bytes = 0;
  int64_t arrived_bytes = 0;
  std::array<MissingRank, kMostMissing> missing;
  int num_missing = 0;  // may be more than are listed
};
// "all-to-all-v 812 in group expert (step 12, layer 3, dispatch), 0 of 4,096
// bytes arrived, waiting for rank 3 (4,096 bytes)"
std::string ToString(const WaitRecord& wait);

// From now until EndWait the process waits; UpdateWait has news of that. Only
// Await calls them. `waited` counts, also of a wait too short to be begun.
void BeginWait(const WaitRecord& wait);
void UpdateWait(const WaitRecord& wait);
void EndWait(absl::Duration waited);

struct Activity {
  Position position;
  // Grows whenever the position changes, or a wait begins or ends: who sees the
  // same number twice has seen the process stand still.
  int64_t changes = 0;
  bool waits = false;
  WaitRecord wait;  // if it does
};
Activity CurrentActivity();

// All time that this process has waited for others so far.
absl::Duration TimeWaited();

}  // namespace moe

#endif  // COMM_ACTIVITY_H_
