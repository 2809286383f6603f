#include "comm/watch/hub_address.h"

#include <ifaddrs.h>
#include <netdb.h>
#include <sys/socket.h>

#include <asio/ip/address.hpp>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace moe {

std::string ToText(const HubAddress& address) {
  return absl::StrCat(address.port, " ", address.nonce, " ",
                      absl::StrJoin(address.hosts, " "));
}

absl::StatusOr<HubAddress> ParseHubAddress(const std::string& text) {
  const std::vector<std::string> parts = absl::StrSplit(text, ' ');
  HubAddress address;
  if (parts.size() < 3 || !absl::SimpleAtoi(parts[0], &address.port) ||
      !absl::SimpleAtoi(parts[1], &address.nonce))
    return absl::InternalError(
        absl::StrCat("the address of a watchdog is '", text, "'"));
  address.hosts.assign(parts.begin() + 2, parts.end());
  return address;
}

std::vector<std::string> OwnHosts(bool is_alone) {
  std::vector<std::string> hosts = {"127.0.0.1"};
  ifaddrs* list = nullptr;
  if (is_alone || getifaddrs(&list) != 0) return hosts;
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr) continue;
    const int family = entry->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    const socklen_t size =
        family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
    char text[NI_MAXHOST];
    if (getnameinfo(entry->ifa_addr, size, text, sizeof(text), nullptr, 0,
                    NI_NUMERICHOST) != 0)
      continue;
    asio::error_code error;
    const asio::ip::address address = asio::ip::make_address(text, error);
    if (!error && !address.is_loopback()) hosts.push_back(text);
  }
  freeifaddrs(list);
  return hosts;
}

std::vector<std::string> HostsToTry(const std::vector<std::string>& hosts,
                                    const Member& hub, const Member& self) {
  const bool is_near = ShareNetwork(hub, self);
  return {hosts.begin() + (is_near || hosts.empty() ? 0 : 1), hosts.end()};
}

}  // namespace moe
