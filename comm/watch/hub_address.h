#ifndef COMM_WATCH_HUB_ADDRESS_H_
#define COMM_WATCH_HUB_ADDRESS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "comm/mpi/roster.h"

namespace moe {

// Where a hub (watch_hub.h) can be reached, and what proves that one belongs to
// its job.
struct HubAddress {
  std::vector<std::string> hosts;  // numeric, to be tried in turn
  int port = 0;
  uint64_t nonce = 0;
};

// A line of text, for a broadcast.
std::string ToText(const HubAddress& address);
// Internal: it is no such text.
absl::StatusOr<HubAddress> ParseHubAddress(const std::string& text);

// Those of this host: 127.0.0.1, and then, unless nobody else is to reach it,
// all that others may reach it by.
std::vector<std::string> OwnHosts(bool is_alone);

// Of the OwnHosts of a rank `hub` those that `self` may reach it by, the
// likeliest first. 127.0.0.1 is another host for who does not share its
// network.
std::vector<std::string> HostsToTry(const std::vector<std::string>& hosts,
                                    const Member& hub, const Member& self);

}  // namespace moe

#endif  // COMM_WATCH_HUB_ADDRESS_H_
