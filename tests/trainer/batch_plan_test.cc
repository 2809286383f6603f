#include "trainer/config/batch_plan.h"

#include <gtest/gtest.h>

namespace moe {
namespace {

TEST(BatchPlan, EverySequenceIsDealtOnceWhateverTheRanks) {
  for (int64_t global : {1, 2, 7, 10, 64}) {
    for (int ranks : {1, 2, 3, 4, 16}) {
      for (int64_t micro : {0, 1, 2, 3, 100}) {
        const BatchPlan plan(global, micro, ranks);
        int64_t next = 0;
        for (int rank = 0; rank < ranks; ++rank) {
          EXPECT_EQ(plan.OfRank(rank).begin, next);
          for (int step = 0; step < plan.num_micro_steps(); ++step) {
            const BatchPlan::Range range = plan.OfMicroStep(rank, step);
            EXPECT_EQ(range.begin, next);
            EXPECT_GE(range.count, 0);
            if (micro > 0) {
              EXPECT_LE(range.count, micro);
            }
            next += range.count;
          }
        }
        EXPECT_EQ(next, global);
      }
    }
  }
}

TEST(BatchPlan, MicroStepsCountTheSequencesOfAllRanks) {
  const BatchPlan plan(7, 2, 3);
  ASSERT_EQ(plan.num_micro_steps(), 2);
  EXPECT_EQ(plan.SequencesInMicroStep(0), 6);
  EXPECT_EQ(plan.SequencesInMicroStep(1), 1);
}

TEST(BatchPlan, ARankThatHasRunOutTakesPartWithNothing) {
  const BatchPlan plan(3, 1, 16);
  EXPECT_EQ(plan.num_micro_steps(), 1);
  EXPECT_EQ(plan.OfMicroStep(0, 0).count, 0);
  EXPECT_EQ(plan.OfMicroStep(15, 0).count, 1);
}

}  // namespace
}  // namespace moe
