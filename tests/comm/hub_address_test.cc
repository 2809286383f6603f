#include "comm/watch/hub_address.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace moe {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(HubAddress, SurvivesItsText) {
  const HubAddress address = {
      .hosts = {"127.0.0.1", "fe80::1%eth0"}, .port = 4711, .nonce = ~0ull};
  const absl::StatusOr<HubAddress> read = ParseHubAddress(ToText(address));
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->hosts, address.hosts);
  EXPECT_EQ(read->port, address.port);
  EXPECT_EQ(read->nonce, address.nonce);
  for (const char* text : {"", "x 1 a", "1 x a", "1 2"})
    EXPECT_FALSE(ParseHubAddress(text).ok()) << text;
}

TEST(HubAddress, IsLocalAloneWhereNobodyElseIsToReachIt) {
  EXPECT_THAT(OwnHosts(/*is_alone=*/true), ElementsAre("127.0.0.1"));
  EXPECT_EQ(OwnHosts(/*is_alone=*/false)[0], "127.0.0.1");
}

// Machines that were copied while they ran are told apart by nothing: there all
// is tried.
TEST(HubAddress, IsLocalOnlyForWhoSharesItsNetwork) {
  const std::vector<std::string> hosts = {"127.0.0.1", "192.0.2.1"};
  const Member hub = {.host = "node", .kernel = "k", .network = 1};
  Member self = hub;
  EXPECT_THAT(HostsToTry(hosts, hub, self),
              ElementsAre("127.0.0.1", "192.0.2.1"));
  self.network = 2;
  EXPECT_THAT(HostsToTry(hosts, hub, self), ElementsAre("192.0.2.1"));
  self = hub;
  self.kernel = "another";
  EXPECT_THAT(HostsToTry(hosts, hub, self), ElementsAre("192.0.2.1"));
  EXPECT_THAT(HostsToTry({"127.0.0.1"}, hub, self), IsEmpty());
  self = hub;
  self.host = "another";
  EXPECT_EQ(HostsToTry(hosts, hub, self)[0], "127.0.0.1");
}

}  // namespace
}  // namespace moe
