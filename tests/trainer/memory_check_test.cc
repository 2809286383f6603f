#include "trainer/plan/memory_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/trainer/trainer_fixture.h"
#include "trainer/config/config_resolve.h"
#include "trainer/config/layout.h"
#include "trainer/plan/memory_plan.h"

namespace moe {
namespace {

using testing::HasSubstr;

TrainConfig ConfigOf(int world, int global_size) {
  TrainConfig config = SmallConfig();
  config.mutable_model()->set_hidden_size(512);
  config.mutable_model()->set_intermediate_size(1024);
  config.mutable_batch()->set_global_size(global_size);
  return *ResolveConfig(config, world, /*cores_per_rank=*/1);
}

// Of one rank, without what it had before.
int64_t Planned(const RankMemory& memory) {
  return memory.Total() - memory.process;
}

TEST(CheckMemory, RefusesWhatSurelyDoesNotFit) {
  const TrainConfig config = ConfigOf(4, 8);
  const Mesh mesh = *MakeMesh(config, 4);
  const int64_t together = 4 * Planned(PlanMemory(config, mesh));
  const absl::Status status =
      CheckMemory(config, mesh, 4, {together / 2, "the test's node"});
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("the memory of 4 ranks on one node would be "));
  EXPECT_THAT(std::string(status.message()), HasSubstr("(the test's node)"));
}

// A plan is within a fifth of what a rank takes.
TEST(CheckMemory, TakesWhatMayFit) {
  const TrainConfig config = ConfigOf(4, 8);
  const Mesh mesh = *MakeMesh(config, 4);
  const double together =
      4.0 * static_cast<double>(Planned(PlanMeanMemory(config, mesh)));
  const auto check = [&](double part) {
    return CheckMemory(config, mesh, 4,
                       {static_cast<int64_t>(part * together), "a node"});
  };
  EXPECT_TRUE(check(1.0).ok());
  EXPECT_TRUE(check(1 / 1.19).ok());
  EXPECT_FALSE(check(1 / 1.21).ok());
}

TEST(CheckMemory, CountsTheRanksOfTheNode) {
  const TrainConfig config = ConfigOf(4, 8);
  const Mesh mesh = *MakeMesh(config, 4);
  const AvailableMemory available = {2 * Planned(PlanMeanMemory(config, mesh)),
                                     "a node"};
  EXPECT_TRUE(CheckMemory(config, mesh, 1, available).ok());
  EXPECT_TRUE(CheckMemory(config, mesh, 2, available).ok());
  EXPECT_FALSE(CheckMemory(config, mesh, 4, available).ok());
}

TEST(CheckMemory, LeavesToTheUserWhatTheUserAsksFor) {
  TrainConfig config = ConfigOf(4, 8);
  config.mutable_run()->set_check_memory(false);
  EXPECT_TRUE(CheckMemory(config, *MakeMesh(config, 4), 4, {1, "a node"}).ok());
}

// Nine sequences on eight ranks: one rank computes two at a time.
TEST(PlanMeanMemory, IsBelowTheLargestRanks) {
  const TrainConfig config = ConfigOf(8, 9);
  const Mesh mesh = *MakeMesh(config, 8);
  const RankMemory largest = PlanMemory(config, mesh);
  const RankMemory mean = PlanMeanMemory(config, mesh);
  EXPECT_LT(mean.activations, largest.activations);
  EXPECT_LT(mean.scratch, largest.scratch);
  EXPECT_LT(mean.snapshot, largest.snapshot);
  EXPECT_EQ(mean.weights, largest.weights);
  const TrainConfig even = ConfigOf(8, 16);
  EXPECT_EQ(PlanMeanMemory(even, mesh).activations,
            PlanMemory(even, mesh).activations);
}

// One sequence on eight ranks, whose experts share its rows.
TEST(PlanMeanMemory, HasTheRowsOfRanksWithoutSequences) {
  TrainConfig config = ConfigOf(8, 1);
  const Mesh mesh = *MakeMesh(config, 8);
  ASSERT_EQ(mesh.expert(), 8);
  const RankMemory mean = PlanMeanMemory(config, mesh);
  EXPECT_GE(mean.activations, PlanMemory(config, mesh).received_rows);
}

}  // namespace
}  // namespace moe
