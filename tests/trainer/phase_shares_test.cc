#include "trainer/report/phase_shares.h"

#include <gtest/gtest.h>

#include <cstring>
#include <numeric>

#include "comm/single_group.h"

namespace moe {
namespace {

double ShareOf(const PhaseShares& shares, const char* name) {
  for (size_t i = 0; i < shares.size(); ++i)
    if (std::strcmp(PhaseShareName(i), name) == 0) return shares[i];
  ADD_FAILURE() << name;
  return 0;
}

TEST(PhaseShares, AddForwardAndBackward) {
  const PhaseShares seconds =
      SumPhaseTimes({{Phase::kAttention, 1'000'000'000},
                     {Phase::kAttentionBackward, 2'000'000'000},
                     {Phase::kRowCounts, 250'000'000},
                     {Phase::kDispatchWeightsBackward, 250'000'000},
                     {Phase::kCombineBackward, 125'000'000},
                     {Phase::kSumOfLosses, 500'000'000},
                     {Phase::kBlock, 500'000'000},
                     {Phase::kWaiting, 750'000'000}});
  EXPECT_DOUBLE_EQ(ShareOf(seconds, "attention"), 3);
  EXPECT_DOUBLE_EQ(ShareOf(seconds, "dispatch"), 0.5);
  EXPECT_DOUBLE_EQ(ShareOf(seconds, "combine"), 0.125);
  EXPECT_DOUBLE_EQ(ShareOf(seconds, "waiting"), 0.75);
  EXPECT_DOUBLE_EQ(ShareOf(seconds, "other"), 1);
}

TEST(PhaseShares, TellInWhichPhaseRanksWaited) {
  const PhaseShares seconds =
      SumPhaseWaits({{Phase::kRowCounts, 1, 250'000'000},
                     {Phase::kDispatchWeightsBackward, 1, 250'000'000},
                     {Phase::kCombine, 1, 125'000'000},
                     {Phase::kWaiting, 625'000'000}});
  EXPECT_DOUBLE_EQ(ShareOf(seconds, "dispatch"), 0.5);
  EXPECT_DOUBLE_EQ(ShareOf(seconds, "combine"), 0.125);
  EXPECT_EQ(ShareOf(seconds, "waiting"), 0);
}

TEST(PhaseShares, SumToOne) {
  const std::unique_ptr<ProcessGroup> alone = MakeSingleGroup("world");
  const auto shares = FindPhaseShares(
      {{Phase::kExperts, 300}, {Phase::kHead, 100}, {Phase::kMetrics, 100}},
      *alone);
  ASSERT_TRUE(shares.ok());
  EXPECT_DOUBLE_EQ(std::accumulate(shares->begin(), shares->end(), 0.0), 1);
  EXPECT_DOUBLE_EQ(ShareOf(*shares, "experts"), 0.6);
  const auto none = FindPhaseShares({}, *alone);
  ASSERT_TRUE(none.ok());
  EXPECT_EQ(ShareOf(*none, "other"), 0);
}

}  // namespace
}  // namespace moe
