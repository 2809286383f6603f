#include "comm/watch/watch_meeting.h"

#include <gtest/gtest.h>

namespace moe {
namespace {

using Hubs = std::vector<int>;

// Hosts of one name.
Member On(const std::string& kernel, uint64_t network) {
  return {.host = "node", .pid = 1, .kernel = kernel, .network = network};
}

TEST(HubRanks, AreTheFirstThreeOfOneHost) {
  EXPECT_EQ(HubRanks({On("a", 1), On("a", 1)}), (Hubs{0, 1}));
  EXPECT_EQ(HubRanks({On("a", 1), On("a", 1), On("a", 1), On("a", 1)}),
            (Hubs{0, 1, 2}));
}

TEST(HubRanks, AreOnTwoMachinesWhateverTheirNames) {
  EXPECT_EQ(HubRanks({On("a", 1), On("a", 1), On("b", 1), On("b", 1)}),
            (Hubs{0, 2, 1}));
  EXPECT_EQ(HubRanks({On("a", 1), On("b", 1)}), (Hubs{0, 1}));
  EXPECT_EQ(HubRanks({On("a", 1), On("a", 2), On("b", 1)}), (Hubs{0, 2, 1}))
      << "a machine is lost as a whole";
}

TEST(HubRanks, AreInTwoNetworksOfOneMachine) {
  EXPECT_EQ(HubRanks({On("a", 1), On("a", 1), On("a", 2)}), (Hubs{0, 2, 1}));
}

TEST(HubRanks, HeedNoNames) {
  Roster roster = {On("a", 1), On("a", 1), On("a", 1)};
  roster[2].host = "another";
  EXPECT_EQ(HubRanks(roster), (Hubs{0, 1, 2}));
}

}  // namespace
}  // namespace moe
