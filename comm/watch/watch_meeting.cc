#include "comm/watch/watch_meeting.h"

#include <mpi.h>

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "comm/base/status_macros.h"
#include "comm/mpi/mpi_status.h"
#include "comm/process_groups.h"

namespace moe {
namespace {

// A status as it travels: "14 the reason".
std::string PackStatus(const absl::Status& status) {
  return absl::StrCat(status.raw_code(), " ", status.message());
}

absl::Status UnpackStatus(const std::string& text) {
  const std::pair<std::string, std::string> parts =
      absl::StrSplit(text, absl::MaxSplits(' ', 1));
  int code = 0;
  if (!absl::SimpleAtoi(parts.first, &code))
    return absl::InternalError(
        absl::StrCat("the status of a watchdog is '", text, "'"));
  return absl::Status(static_cast<absl::StatusCode>(code), parts.second);
}

}  // namespace

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
  int first = status.ok() ? world : rank;
  RETURN_IF_ERROR(MpiStatus(
      MPI_Allreduce(MPI_IN_PLACE, &first, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD),
      "starting the watchdogs"));
  if (first == world) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::string text,
                   BroadcastText(PackStatus(status), first));
  const absl::Status agreed = UnpackStatus(text);
  return MarkAgreed(absl::Status(
      agreed.code(),
      absl::StrCat("the watchdog of rank ", first, " (",
                   ToString(roster[static_cast<size_t>(first)]),
                   "): ", agreed.message(),
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
