#include "comm/watch/watch_state.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace moe {

RankState ToRankState(const Activity& activity, absl::Duration still) {
  RankState state;
  state.set_still_seconds(absl::ToDoubleSeconds(still));
  state.set_place(ToString(activity.position));
  state.set_doing(state.place());
  if (!activity.waits) return state;
  const WaitRecord& wait = activity.wait;
  state.set_doing(ToString(wait));
  WaitRecord place = wait;
  place.expected_bytes = 0;
  place.num_missing = 0;
  state.set_place(ToString(place));
  WatchWait& message = *state.mutable_wait();
  message.set_group(wait.group);
  message.set_first_rank(wait.first_rank);
  message.set_sequence(wait.sequence);
  message.set_signature(wait.signature);
  for (int i = 0; i < std::min(wait.num_missing, WaitRecord::kMostMissing); ++i)
    message.add_missing(wait.missing[static_cast<size_t>(i)].rank);
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

}  // namespace moe
