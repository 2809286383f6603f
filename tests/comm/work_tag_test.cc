#include "comm/mpi/work_tag.h"

#include <gtest/gtest.h>

#include <limits>
#include <set>

namespace moe {
namespace {

constexpr int kSmallest = 32767;  // that MPI promises
constexpr int kLargest = std::numeric_limits<int>::max();

TEST(WorkTag, StaysWithinMpisTags) {
  for (int max_tag : {kSmallest, 65535, (1 << 23) - 1, kLargest}) {
    for (uint32_t signature : {0u, 1u, 77u, 0xffffffffu}) {
      for (int64_t sequence :
           {int64_t{1}, int64_t{16383}, int64_t{16384}, int64_t{1} << 40}) {
        const int tag = WorkTag(sequence, signature, max_tag);
        EXPECT_GE(tag, 0);
        EXPECT_LE(tag, max_tag - 1) << "the next one is the Work's, too";
        EXPECT_EQ(tag % 2, 0);
      }
    }
  }
}

TEST(WorkTag, TellsCollectivesApart) {
  std::set<int> tags;
  for (int sequence = 0; sequence < 16384; ++sequence)
    tags.insert(WorkTag(sequence, 7, kLargest));
  EXPECT_EQ(tags.size(), 16384u);
  EXPECT_NE(WorkTag(5, 7, kLargest), WorkTag(5, 8, kLargest));
  EXPECT_EQ(WorkTag(5, 7, kSmallest), WorkTag(5, 8, kSmallest))
      << "there is no room for a signature";
}

TEST(WorkTag, SignsWithAllThatMakesACollective) {
  const Position position = {.step = 3, .layer = 1, .phase = Phase::kDispatch};
  std::set<uint32_t> signatures = {Signature("all-reduce", position),
                                   Signature("all-gather", position)};
  for (const Position& other :
       {Position{.step = 4, .layer = 1, .phase = Phase::kDispatch},
        Position{.step = 3, .layer = 2, .phase = Phase::kDispatch},
        Position{.step = 3, .layer = 1, .phase = Phase::kCombine}})
    signatures.insert(Signature("all-reduce", other));
  EXPECT_EQ(signatures.size(), 5u);
}

}  // namespace
}  // namespace moe
