#include "tests/comm/group_fixture.h"

#include <utility>

#include "comm/base/check.h"
#include "comm/mpi/mpi_group.h"
#include "comm/single_group.h"
#include "tests/mpi_test.h"

namespace moe {
namespace {

// World ranks of this rank's group, in group order.
std::vector<int> MembersOf(GroupKind kind) {
  const int world = TestRuntime().world();
  const int rank = TestRuntime().rank();
  std::vector<int> members;
  for (int other = 0; other < world; ++other) {
    const bool is_member =
        (kind != GroupKind::kAlternating || other % 2 == rank % 2) &&
        (kind != GroupKind::kHalves ||
         (2 * other < world) == (2 * rank < world));
    if (is_member)
      members.push_back(kind == GroupKind::kReversed ? world - 1 - other
                                                     : other);
  }
  return members;
}

}  // namespace

std::string Name(GroupKind kind) {
  switch (kind) {
    case GroupKind::kSingle:
      return "Single";
    case GroupKind::kWorld:
      return "World";
    case GroupKind::kWorldShortMessages:
      return "WorldShortMessages";
    case GroupKind::kWorldMessagesOfAThousand:
      return "WorldMessagesOfAThousand";
    case GroupKind::kReversed:
      return "Reversed";
    case GroupKind::kAlternating:
      return "Alternating";
    case GroupKind::kHalves:
      return "Halves";
  }
  CHECK(false && "not a GroupKind");
}

std::unique_ptr<ProcessGroup> MakeGroup(GroupKind kind) {
  if (kind == GroupKind::kSingle) return MakeSingleGroup(Name(kind));
  MpiGroupOptions options;
  if (kind == GroupKind::kWorldShortMessages) options.max_message_elements = 97;
  if (kind == GroupKind::kWorldMessagesOfAThousand)
    options.max_message_elements = 1000;
  absl::StatusOr<std::unique_ptr<ProcessGroup>> group =
      MakeMpiGroup(TestRuntime().progress(), Name(kind), MembersOf(kind),
                   /*tag=*/0, options);
  CHECK(group.ok());
  return *std::move(group);
}

void GroupTest::SetUp() {
  if (GetParam() != GroupKind::kSingle && !TestRuntime().initialized())
    GTEST_SKIP() << "needs mpirun";
  group_ = MakeGroup(GetParam());
}

void GroupTest::TearDown() {
  if (group_ == nullptr) return;
  EXPECT_TRUE(group_->Barrier().ok());
}

std::vector<GroupKind> AllGroupKinds() {
  return {GroupKind::kSingle,
          GroupKind::kWorld,
          GroupKind::kReversed,
          GroupKind::kWorldShortMessages,
          GroupKind::kWorldMessagesOfAThousand,
          GroupKind::kHalves,
          GroupKind::kAlternating};
}

std::string KindOfParam(const testing::TestParamInfo<GroupKind>& info) {
  return Name(info.param);
}

}  // namespace moe
