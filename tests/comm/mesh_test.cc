#include "comm/mesh.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace moe {
namespace {

using ::testing::ElementsAre;

std::string ErrorOf(const absl::StatusOr<Mesh>& mesh) {
  EXPECT_EQ(mesh.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(mesh.status().message());
}

TEST(Mesh, LaysEightRanksOutAsItsHeaderDraws) {
  const Mesh mesh = Mesh::Create(8, 1, 4, 8).value();
  EXPECT_THAT(mesh.Members(Axis::kExpert, 6), ElementsAre(4, 5, 6, 7));
  EXPECT_THAT(mesh.Members(Axis::kExpertReplica, 6), ElementsAre(2, 6));
  EXPECT_EQ(mesh.Index(Axis::kExpert, 6), 2);
  EXPECT_EQ(mesh.Index(Axis::kExpertReplica, 6), 1);
}

TEST(Mesh, TensorRanksAreAdjacentAndDataRanksATensorGroupApart) {
  const Mesh mesh = Mesh::Create(8, 2, 4, 4).value();
  EXPECT_THAT(mesh.Members(Axis::kTensor, 5), ElementsAre(4, 5));
  EXPECT_THAT(mesh.Members(Axis::kData, 5), ElementsAre(1, 3, 5, 7));
  EXPECT_EQ(mesh.ToString(),
            "8 ranks: data 4, tensor 2, expert 4, expert replica 2");
}

TEST(Mesh, EveryRankIsAtItsIndexAmongItsMembers) {
  for (int tensor : {1, 2, 3, 6}) {
    for (int expert : {1, 2, 3, 4, 6, 12}) {
      const Mesh mesh = Mesh::Create(12, tensor, expert, 12).value();
      for (Axis axis : kAllAxes) {
        for (int rank = 0; rank < mesh.world(); ++rank) {
          const std::vector<int> members = mesh.Members(axis, rank);
          ASSERT_EQ(static_cast<int>(members.size()), mesh.Size(axis));
          const auto index = static_cast<size_t>(mesh.Index(axis, rank));
          EXPECT_EQ(members[index], rank) << Name(axis);
          for (int other : members)
            EXPECT_EQ(mesh.Members(axis, other), members) << Name(axis);
        }
      }
    }
  }
}

TEST(Mesh, UnsetExpertParallelIsTheGreatestCommonDivisor) {
  EXPECT_EQ(Mesh::Create(16, 1, 0, 8)->expert(), 8);
  EXPECT_EQ(Mesh::Create(12, 1, 0, 8)->expert(), 4);
  EXPECT_EQ(Mesh::Create(3, 1, 0, 8)->expert(), 1);
}

TEST(Mesh, ErrorsNameTheNumbers) {
  EXPECT_EQ(ErrorOf(Mesh::Create(8, 3, 1, 8)),
            "number of ranks is 8, must be divisible by parallel.tensor (3)");
  EXPECT_EQ(ErrorOf(Mesh::Create(8, 1, 3, 3)),
            "number of ranks is 8, must be divisible by parallel.expert (3)");
  EXPECT_EQ(ErrorOf(Mesh::Create(8, 1, 8, 12)),
            "num_experts is 12, must be divisible by parallel.expert (8)");
  EXPECT_EQ(ErrorOf(Mesh::Create(8, 0, 8, 8)),
            "parallel.tensor is 0, must be at least 1");
  ErrorOf(Mesh::Create(0, 1, 1, 1));
  ErrorOf(Mesh::Create(1, 1, -1, 1));
  ErrorOf(Mesh::Create(1, 1, 1, 0));
}

}  // namespace
}  // namespace moe
