#include "trainer/run/rank_zero_work.h"

#include <gtest/gtest.h>

#include "comm/mpi/mpi_group.h"
#include "comm/process_groups.h"
#include "tests/mpi_test.h"
#include "tests/no_threads.h"

namespace moe {
namespace {

class RankZeroWorkTest : public testing::Test {
 protected:
  const ProcessGroups groups_ = *MakeMpiGroups(
      TestRuntime(), *Mesh::Create(TestRuntime().world(), 1, 1, 8));
};

TEST_F(RankZeroWorkTest, IsDoneOnceAndItsStatusIsThatOfAllRanks) {
  int times = 0;
  const absl::Status status = RunOnRankZero(
      [&] {
        ++times;
        return absl::DataLossError("of rank 0");
      },
      groups_.world());
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  EXPECT_EQ(times, groups_.world().rank() == 0 ? 1 : 0);
}

TEST_F(RankZeroWorkTest, AllRanksLearnThatThereIsNoThreadForIt) {
  const NoThreads none;
  const absl::Status status =
      RunOnRankZero([] { return absl::OkStatus(); }, groups_.world());
  EXPECT_EQ(status.code(), groups_.world().size() == 1
                               ? absl::StatusCode::kOk
                               : absl::StatusCode::kResourceExhausted)
      << status;
}

}  // namespace
}  // namespace moe
