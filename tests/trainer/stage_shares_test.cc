#include "trainer/stage_shares.h"

#include <gtest/gtest.h>

#include <cstring>
#include <numeric>

#include "comm/single_group.h"

namespace moe {
namespace {

double ShareOf(const StageShares& shares, const char* name) {
  for (size_t i = 0; i < shares.size(); ++i)
    if (std::strcmp(StageShareName(i), name) == 0) return shares[i];
  ADD_FAILURE() << name;
  return 0;
}

TEST(StageShares, AddForwardAndBackward) {
  const StageShares seconds =
      SumStageTimes({{"attention", 1'000'000'000},
                     {"attention backward", 2'000'000'000},
                     {"row counts", 250'000'000},
                     {"dispatch weights backward", 250'000'000},
                     {"combine backward", 125'000'000},
                     {"sum of losses", 500'000'000},
                     {"block", 500'000'000},
                     {"waiting", 750'000'000}});
  EXPECT_DOUBLE_EQ(ShareOf(seconds, "attention"), 3);
  EXPECT_DOUBLE_EQ(ShareOf(seconds, "dispatch"), 0.5);
  EXPECT_DOUBLE_EQ(ShareOf(seconds, "combine"), 0.125);
  EXPECT_DOUBLE_EQ(ShareOf(seconds, "waiting"), 0.75);
  EXPECT_DOUBLE_EQ(ShareOf(seconds, "other"), 1);
}

TEST(StageShares, TellInWhichStageRanksWaited) {
  const StageShares seconds =
      SumStageWaits({{"row counts", 1, 250'000'000},
                     {"dispatch weights backward", 1, 250'000'000},
                     {"combine", 1, 125'000'000},
                     {"waiting", 625'000'000}});
  EXPECT_DOUBLE_EQ(ShareOf(seconds, "dispatch"), 0.5);
  EXPECT_DOUBLE_EQ(ShareOf(seconds, "combine"), 0.125);
  EXPECT_EQ(ShareOf(seconds, "waiting"), 0);
}

TEST(StageShares, SumToOne) {
  const std::unique_ptr<ProcessGroup> alone = MakeSingleGroup("world");
  const auto shares =
      FindStageShares({{"experts", 300}, {"head", 100}, {"odd", 100}}, *alone);
  ASSERT_TRUE(shares.ok());
  EXPECT_DOUBLE_EQ(std::accumulate(shares->begin(), shares->end(), 0.0), 1);
  EXPECT_DOUBLE_EQ(ShareOf(*shares, "experts"), 0.6);
  const auto none = FindStageShares({}, *alone);
  ASSERT_TRUE(none.ok());
  EXPECT_EQ(ShareOf(*none, "other"), 0);
}

}  // namespace
}  // namespace moe
