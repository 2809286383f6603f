#include "trainer/report/straggler.h"

#include <gtest/gtest.h>

#include "comm/single_group.h"

namespace moe {
namespace {

TEST(Straggler, IsTheRankThatWaitsLeast) {
  const Straggler straggler = FindStraggler({0.5, 0.7, 0.1, 0.6});
  EXPECT_EQ(straggler.rank, 2);
  EXPECT_DOUBLE_EQ(straggler.seconds, 0.5);
}

TEST(Straggler, IsTheFirstOfRanksThatWaitAlike) {
  const Straggler straggler = FindStraggler({0.25, 0.25});
  EXPECT_EQ(straggler.rank, 0);
  EXPECT_EQ(straggler.seconds, 0);
}

TEST(Straggler, NeedsAnother) {
  const std::unique_ptr<ProcessGroup> alone = MakeSingleGroup("world");
  const absl::StatusOr<Straggler> straggler = FindStraggler(3.0, *alone);
  ASSERT_TRUE(straggler.ok());
  EXPECT_EQ(straggler->rank, 0);
  EXPECT_EQ(straggler->seconds, 0);
}

}  // namespace
}  // namespace moe
