#ifndef COMM_WATCH_WATCH_MEETING_H_
#define COMM_WATCH_WATCH_MEETING_H_

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "comm/mpi/roster.h"
#include "comm/watch/hub_address.h"

namespace moe {

// How the ranks of a job find the hubs when their watchdogs start. By plain
// MPI: there are no groups yet.

// The ranks that have them, in the order in which they decide: 0, one that is
// to outlive what takes rank 0 away, on another machine if there is one, else
// in another network, and the first of the others. Of at least two ranks.
std::vector<int> HubRanks(const Roster& roster);

// `status` of the lowest rank that has an error, as that of its watchdog.
// Collective.
absl::Status AgreeOnWatchdog(const absl::Status& status, const Roster& roster,
                             int rank);

// Where `rank` tries to reach the hubs, in the order of HubRanks. `mine` is of
// its own hub, if it has one. Collective.
absl::StatusOr<std::vector<HubAddress>> ShareHubAddresses(
    const Roster& roster, int rank, const HubAddress& mine);

}  // namespace moe

#endif  // COMM_WATCH_WATCH_MEETING_H_
