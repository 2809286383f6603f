#ifndef COMM_WATCH_WATCH_STATE_H_
#define COMM_WATCH_WATCH_STATE_H_

#include <string>

#include "absl/time/time.h"
#include "comm/activity.h"
#include "comm/mpi/roster.h"
#include "comm/watch/watch_message.pb.h"

namespace moe {

// An activity as it travels, and how long it has been what it is.
RankState ToRankState(const Activity& activity, absl::Duration still);

// Adds, of other ranks whose processes are seen from here, those that do not
// just run or sleep.
void AddStrangeProcesses(RankState& state, const Roster& roster, int self);

// "its process is stopped ..." of a letter as in RankState::Process.
std::string DescribeProcess(const std::string& state);

}  // namespace moe

#endif  // COMM_WATCH_WATCH_STATE_H_
