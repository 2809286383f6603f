#include "comm/watch/watch_state.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "comm/phase.h"

namespace moe {
namespace {

WatchPosition ToMessage(const Position& position) {
  WatchPosition message;
  message.set_step(position.step);
  message.set_layer(position.layer);
  message.set_stage(Name(position.phase));
  return message;
}

WatchWait ToMessage(const WaitRecord& wait) {
  WatchWait message;
  message.set_operation(wait.operation);
  message.set_group(wait.group);
  message.set_first_rank(wait.first_rank);
  message.set_sequence(wait.sequence);
  message.set_signature(wait.signature);
  *message.mutable_position() = ToMessage(wait.position);
  message.set_expected_bytes(wait.expected_bytes);
  message.set_arrived_bytes(wait.arrived_bytes);
  message.set_num_missing(wait.num_missing);
  for (int i = 0; i < std::min(wait.num_missing, WaitRecord::kMostMissing);
       ++i) {
    const MissingRank& missing = wait.missing[static_cast<size_t>(i)];
    WatchWait::Missing& entry = *message.add_missing();
    entry.set_rank(missing.rank);
    entry.set_num_bytes(missing.num_bytes);
  }
  return message;
}

Position FromMessage(const WatchPosition& message) {
  return {.step = message.step(),
          .layer = message.layer(),
          .phase = PhaseNamed(message.stage())};
}

}  // namespace

RankState ToRankState(const Activity& activity, absl::Duration still) {
  RankState state;
  *state.mutable_position() = ToMessage(activity.position);
  if (activity.waits) *state.mutable_wait() = ToMessage(activity.wait);
  state.set_still_seconds(absl::ToDoubleSeconds(still));
  return state;
}

void AddStrangeProcesses(RankState& state, const Roster& roster, int self) {
  for (int rank = 0; rank < static_cast<int>(roster.size()); ++rank) {
    const Member& member = roster[static_cast<size_t>(rank)];
    if (rank == self ||
        !ShareProcesses(member, roster[static_cast<size_t>(self)]))
      continue;
    const char letter = ProcessState(member.pid);
    if (letter == 'R' || letter == 'S') continue;
    RankState::Process& process = *state.add_process();
    process.set_rank(rank);
    if (letter != '\0') process.set_state(std::string(1, letter));
  }
}

std::string DescribeProcess(const std::string& state) {
  if (state.empty()) return "its process has ended";
  if (state == "T" || state == "t")
    return "its process is stopped (SIGSTOP, or a debugger)";
  if (state == "D")
    return "its process is in the kernel's hands (a disk that does not "
           "answer?)";
  return absl::StrCat("its process is in state ", state);
}

std::string ToString(const RankState& state, bool brief) {
  if (!state.has_wait()) return ToString(FromMessage(state.position()));
  const WatchWait& message = state.wait();
  WaitRecord wait;
  wait.operation = message.operation().c_str();
  wait.group = message.group();
  wait.sequence = message.sequence();
  wait.position = FromMessage(message.position());
  if (brief) return ToString(wait);
  wait.expected_bytes = message.expected_bytes();
  wait.arrived_bytes = message.arrived_bytes();
  wait.num_missing = message.num_missing();
  const int listed = std::min({message.missing_size(), message.num_missing(),
                               WaitRecord::kMostMissing});
  for (int i = 0; i < listed; ++i) {
    wait.missing[static_cast<size_t>(i)] = {message.missing(i).rank(),
                                            message.missing(i).num_bytes()};
  }
  return ToString(wait);
}

}  // namespace moe
