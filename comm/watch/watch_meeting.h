#ifndef COMM_WATCH_WATCH_MEETING_H_
#define COMM_WATCH_WATCH_MEETING_H_

#include <array>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "comm/mpi/roster.h"
#include "comm/watch/hub_address.h"

namespace moe {

// How the ranks of a job find the two hubs when their watchdogs start. By plain
// MPI: there are no groups yet.

constexpr int kNumHubs = 2;

// The ranks that have them: 0, and its deputy, which is to outlive what takes
// rank 0 away: on another machine if there is one, else in another network. Of
// at least two ranks.
std::array<int, kNumHubs> HubRanks(const Roster& roster);

// `status` of the lowest rank that has an error, as that of its watchdog.
// Collective.
absl::Status AgreeOnWatchdog(const absl::Status& status, const Roster& roster,
                             int rank);

// Where `rank` tries to reach the hubs, in the order of HubRanks. `mine` is of
// its own hub, if it has one. Collective.
absl::StatusOr<std::array<HubAddress, kNumHubs>> ShareHubAddresses(
    const Roster& roster, int rank, const HubAddress& mine);

}  // namespace moe

#endif  // COMM_WATCH_WATCH_MEETING_H_
