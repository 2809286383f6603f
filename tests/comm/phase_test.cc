#include "comm/phase.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

namespace moe {
namespace {

std::vector<Phase> AllPhases() {
  std::vector<Phase> phases;
  for (size_t i = 0; i < kNumPhases; ++i)
    phases.push_back(static_cast<Phase>(i));
  return phases;
}

// Reports, traces and errors that people keep speak of phases by these words.
TEST(Phase, KeepsItsName) {
  std::vector<std::string> names;
  for (const Phase phase : AllPhases()) names.push_back(Name(phase));
  EXPECT_THAT(
      names,
      testing::ElementsAre(
          "start", "data", "embedding", "embedding backward", "block",
          "block backward", "attention", "attention backward", "router",
          "router backward", "row counts", "dispatch", "dispatch backward",
          "dispatch weights", "dispatch weights backward", "experts",
          "experts backward", "combine", "combine backward", "auxiliary losses",
          "head", "sum of gradients", "sum of losses", "optimizer",
          "search for what is not finite", "metrics", "checkpoint",
          "validation", "bench", "waiting", "unknown phase"));
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(),
            kNumPhases);
}

TEST(Phase, IsFoundByItsName) {
  for (const Phase phase : AllPhases())
    EXPECT_EQ(PhaseNamed(Name(phase)), phase) << Name(phase);
  EXPECT_EQ(PhaseNamed("dispatch of another build"), Phase::kUnknown);
  EXPECT_EQ(PhaseNamed(""), Phase::kUnknown);
}

TEST(Phase, HasAWireNumberOfItsOwn) {
  std::set<uint32_t> numbers;
  for (const Phase phase : AllPhases()) numbers.insert(WireNumber(phase));
  EXPECT_EQ(numbers.size(), kNumPhases);
}

// Every group has a phase, or a key of the metrics would always be 0.
TEST(Phase, CountsForAGroup) {
  std::set<PhaseGroup> groups;
  for (const Phase phase : AllPhases()) groups.insert(GroupOf(phase));
  EXPECT_EQ(groups.size(), kNumPhaseGroups);
  EXPECT_EQ(GroupOf(Phase::kAttentionBackward), PhaseGroup::kAttention);
  EXPECT_EQ(GroupOf(Phase::kRowCounts), PhaseGroup::kDispatch);
  EXPECT_EQ(GroupOf(Phase::kDispatchWeightsBackward), PhaseGroup::kDispatch);
  EXPECT_EQ(GroupOf(Phase::kSumOfLosses), PhaseGroup::kOther);
  EXPECT_EQ(GroupOf(Phase::kBlock), PhaseGroup::kOther);
}

TEST(PhaseGroup, IsTheKeyOfMetrics) {
  std::vector<std::string> names;
  for (size_t i = 0; i < kNumPhaseGroups; ++i)
    names.push_back(Name(static_cast<PhaseGroup>(i)));
  EXPECT_THAT(names, testing::ElementsAre(
                         "data", "embedding", "attention", "router", "dispatch",
                         "experts", "combine", "auxiliary losses", "head",
                         "optimizer", "sum of gradients", "checkpoint",
                         "validation", "waiting", "other"));
}

}  // namespace
}  // namespace moe
