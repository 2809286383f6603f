#include "comm/watch/watch_meeting.h"

#include <mpi.h>

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "comm/base/status_macros.h"
#include "comm/mpi/mpi_status.h"
#include "comm/process_groups.h"

namespace moe {

std::array<int, kNumHubs> HubRanks(const Roster& roster) {
  const int world = static_cast<int>(roster.size());
  for (int rank = 1; rank < world; ++rank) {
    if (roster[static_cast<size_t>(rank)].kernel != roster[0].kernel)
      return {0, rank};
  }
  for (int rank = 1; rank < world; ++rank) {
    if (!ShareNetwork(roster[static_cast<size_t>(rank)], roster[0]))
      return {0, rank};
  }
  return {0, 1};
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

absl::StatusOr<std::array<HubAddress, kNumHubs>> ShareHubAddresses(
    const Roster& roster, int rank, const HubAddress& mine) {
  const std::array<int, kNumHubs> hubs = HubRanks(roster);
  std::array<HubAddress, kNumHubs> addresses;
  for (size_t i = 0; i < kNumHubs; ++i) {
    ASSIGN_OR_RETURN(
        const std::string text,
        BroadcastText(rank == hubs[i] ? ToText(mine) : std::string(), hubs[i]));
    ASSIGN_OR_RETURN(addresses[i], ParseHubAddress(text));
    addresses[i].hosts =
        HostsToTry(addresses[i].hosts, roster[static_cast<size_t>(hubs[i])],
                   roster[static_cast<size_t>(rank)]);
  }
  return addresses;
}

}  // namespace moe
