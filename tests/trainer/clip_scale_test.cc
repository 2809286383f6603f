#include <gtest/gtest.h>

#include "trainer/step/optimizer.h"

namespace moe {
namespace {

// AdamW hardly feels a constant factor, so that the golden steps would let one
// of a thousandth pass.
TEST(ClipScale, BringsTheNormDownToTheLimit) {
  EXPECT_NEAR(ClipScale(4, 1) * 4, 1, 1e-6);
  EXPECT_DOUBLE_EQ(ClipScale(4, 2), 2 / 4.000001);
  EXPECT_NEAR(ClipScale(1e6, 0.5) * 1e6, 0.5, 1e-9);
}

TEST(ClipScale, LeavesASmallerNormAlone) {
  EXPECT_EQ(ClipScale(0.5, 1), 1);
  EXPECT_EQ(ClipScale(0, 1), 1);
}

TEST(ClipScale, ZeroIsNoLimit) { EXPECT_EQ(ClipScale(1e9, 0), 1); }

}  // namespace
}  // namespace moe
