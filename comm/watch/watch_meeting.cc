#include "comm/watch/watch_meeting.h"

#include <mpi.h>

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "comm/base/status_macros.h"
#include "comm/mpi/mpi_status.h"
#include "comm/process_groups.h"

namespace moe {

std::vector<int> HubRanks(const Roster& roster) {
  const auto distance = [&](const Member& member) {
    if (member.kernel != roster[0].kernel) return 2;
    return ShareNetwork(member, roster[0]) ? 0 : 1;
  };
  const auto farthest = std::max_element(roster.begin() + 1, roster.end(),
                                         [&](const Member& a, const Member& b) {
                                           return distance(a) < distance(b);
                                         });
  const auto second = static_cast<int>(farthest - roster.begin());
  if (roster.size() == 2) return {0, second};
  return {0, second, second == 1 ? 2 : 1};
}

absl::Status AgreeOnWatchdog(const absl::Status& status, const Roster& roster,
                             int rank) {
  const int world = static_cast<int>(roster.size());
  constexpr char kStarting[] = "starting the watchdogs";
  int first = status.ok() ? world : rank;
  RETURN_IF_ERROR(MpiStatus(
      MPI_Allreduce(MPI_IN_PLACE, &first, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD),
      kStarting));
  if (first == world) return absl::OkStatus();
  int code = status.raw_code();
  RETURN_IF_ERROR(MpiStatus(MPI_Bcast(&code, 1, MPI_INT, first, MPI_COMM_WORLD),
                            kStarting));
  ASSIGN_OR_RETURN(const std::string message,
                   BroadcastText(std::string(status.message()), first));
  return MarkAgreed(absl::Status(
      static_cast<absl::StatusCode>(code),
      absl::StrCat("the watchdog of rank ", first, " (",
                   ToString(roster[static_cast<size_t>(first)]), "): ", message,
                   "; parallel.watchdog=false trains without it")));
}

absl::StatusOr<std::vector<HubAddress>> ShareHubAddresses(
    const Roster& roster, int rank, const HubAddress& mine) {
  std::vector<HubAddress> addresses;
  for (int hub : HubRanks(roster)) {
    ASSIGN_OR_RETURN(
        const std::string text,
        BroadcastText(rank == hub ? ToText(mine) : std::string(), hub));
    ASSIGN_OR_RETURN(HubAddress address, ParseHubAddress(text));
    address.hosts = HostsToTry(address.hosts, roster[static_cast<size_t>(hub)],
                               roster[static_cast<size_t>(rank)]);
    addresses.push_back(std::move(address));
  }
  // No hub acts before all ranks have come: the start watch would tell too.
  RETURN_IF_ERROR(AgreeOnWatchdog(absl::OkStatus(), roster, rank));
  return addresses;
}

}  // namespace moe
