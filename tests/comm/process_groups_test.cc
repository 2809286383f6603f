#include "comm/process_groups.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "comm/mpi/mpi_group.h"
#include "comm/single_group.h"
#include "tests/mpi_test.h"

namespace moe {
namespace {

ProcessGroups Create(const Mesh& mesh) {
  return MakeMpiGroups(TestRuntime(), mesh).value();
}

// Every number of ranks divides by these.
Mesh WorldMesh(int tensor, int expert) {
  return Mesh::Create(TestRuntime().world(), tensor, expert, expert).value();
}

// Divisors of the world's size.
std::vector<int> Divisors() {
  std::vector<int> divisors;
  for (int i = 1; i <= TestRuntime().world(); ++i)
    if (TestRuntime().world() % i == 0) divisors.push_back(i);
  return divisors;
}

TEST(ProcessGroups, EveryAxisOfEveryMeshHasItsRanks) {
  const int rank = TestRuntime().rank();
  for (int tensor : Divisors()) {
    for (int expert : Divisors()) {
      const Mesh mesh = WorldMesh(tensor, expert);
      const ProcessGroups groups = Create(mesh);
      for (Axis axis : kAllAxes) {
        ProcessGroup& group = groups[axis];
        EXPECT_EQ(group.name(), Name(axis));
        EXPECT_EQ(group.rank(), mesh.Index(axis, rank));
        std::vector<int32_t> members(static_cast<size_t>(group.size()));
        EXPECT_TRUE(group
                        .AllGather({&rank, 1, DType::kInt32},
                                   ViewOf(absl::MakeSpan(members)))
                        .ok());
        EXPECT_EQ(members, mesh.Members(axis, rank)) << Name(axis);
      }
    }
  }
}

TEST(ProcessGroups, EachIsExercisedOnce) {
  const ProcessGroups groups = Create(WorldMesh(1, 1));
  EXPECT_EQ(groups.world().traffic().calls, 1);
}

TEST(ProcessGroups, GroupsOfAllAxesMayBeBusyAtOnce) {
  const Mesh mesh =
      WorldMesh(Divisors()[Divisors().size() / 2], Divisors().back());
  const ProcessGroups groups = Create(mesh);
  std::vector<std::vector<double>> data;
  for (Axis axis : kAllAxes)
    data.emplace_back(2000, 1.0 + static_cast<double>(axis));
  std::vector<std::unique_ptr<Work>> works;
  for (size_t i = 0; i < data.size(); ++i)
    works.push_back(
        groups[kAllAxes[i]]
            .StartAllReduce(ViewOf(absl::MakeSpan(data[i])), ReduceOp::kSum)
            .value());
  for (auto& work : works) EXPECT_TRUE(work->Wait().ok());
  for (size_t i = 0; i < data.size(); ++i)
    EXPECT_THAT(data[i], testing::Each((1.0 + static_cast<double>(i)) *
                                       mesh.Size(kAllAxes[i])));
}

TEST(ProcessGroups, TheSingleOnesNeedNoMpi) {
  const ProcessGroups groups = ProcessGroups::CreateSingle();
  for (Axis axis : kAllAxes) {
    EXPECT_EQ(groups[axis].size(), 1);
    EXPECT_EQ(groups[axis].name(), Name(axis));
  }
}

class AgreeOnStatusTest : public testing::Test {
 protected:
  ProcessGroups groups_ = Create(WorldMesh(1, 1));
  ProcessGroup& world_ = groups_.world();
};

TEST(ProcessGroups, DeviceGroupsAreTheHostsUntilTheyAreReplaced) {
  ProcessGroups groups = ProcessGroups::CreateSingle();
  for (Axis axis : kAllAxes) EXPECT_EQ(&groups.device(axis), &groups[axis]);
  const ProcessGroup* const host = &groups[Axis::kData];
  EXPECT_EQ(groups.ReplaceDevice(Axis::kData, MakeSingleGroup("device")),
            nullptr);
  EXPECT_EQ(groups.device(Axis::kData).name(), "device");
  EXPECT_EQ(&groups[Axis::kData], host);
  EXPECT_EQ(&groups.device(Axis::kWorld), &groups.world());
}

TEST_F(AgreeOnStatusTest, AllWellIsOk) {
  EXPECT_TRUE(AgreeOnStatus(absl::OkStatus(), world_).ok());
}

TEST_F(AgreeOnStatusTest, OneRanksErrorIsEveryRanks) {
  for (int failing = 0; failing < world_.size(); ++failing) {
    const absl::Status mine =
        world_.rank() == failing ? absl::DataLossError("train.bin is cut short")
                                 : absl::OkStatus();
    const absl::Status agreed = AgreeOnStatus(mine, world_);
    EXPECT_EQ(agreed.code(), absl::StatusCode::kDataLoss);
    const std::string prefix =
        failing == 0 ? "" : absl::StrCat("rank ", failing, ": ");
    EXPECT_EQ(std::string(agreed.message()), prefix + "train.bin is cut short");
    EXPECT_TRUE(IsAgreed(agreed));
    EXPECT_FALSE(IsAgreed(absl::DataLossError("train.bin is cut short")));
  }
}

TEST_F(AgreeOnStatusTest, OfSeveralErrorsTheLowestRanksIsTaken) {
  const int lowest = world_.size() / 2;
  const absl::Status mine =
      world_.rank() >= lowest
          ? absl::NotFoundError(absl::StrCat("by ", world_.rank()))
          : absl::OkStatus();
  EXPECT_THAT(std::string(AgreeOnStatus(mine, world_).message()),
              testing::EndsWith(absl::StrCat("by ", lowest)));
}

TEST_F(AgreeOnStatusTest, LongMessagesAreCarriedWholeUpTo4KiB) {
  for (size_t length : {size_t{1}, size_t{4095}, size_t{4096}}) {
    const std::string text(length, 'x');
    EXPECT_EQ(
        std::string(AgreeOnStatus(absl::AbortedError(text), world_).message()),
        text);
  }
  if (world_.size() == 1) return;
  EXPECT_EQ(AgreeOnStatus(absl::AbortedError(std::string(9999, 'x')), world_)
                .message()
                .size(),
            4096u);
}

}  // namespace
}  // namespace moe
