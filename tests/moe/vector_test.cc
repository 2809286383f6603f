#include "moe/cpu/vector.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace moe::cpu {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(Vector, ExpIsWithinOneAndAHalfUnitsOfTheLastPlace) {
  double worst = 0;
  for (float x = -87.33f; x < 88.72f; x += 1e-3f) {
    const double expected = std::exp(double{x});
    const double unit = std::ldexp(1.0, std::ilogb(expected) - 23);
    worst = std::max(worst, std::abs(Exp(Splat(x))[3] - expected) / unit);
  }
  EXPECT_LE(worst, 1.5);
  EXPECT_GT(worst, 0.1);  // the measure measures
}

TEST(Vector, ExpOfExtremesIsZeroInfinityOrNaN) {
  const Float8 x = {0, -0.0f, -88, -kInfinity, 89, kInfinity, -1e30f, 1e30f};
  const Float8 y = Exp(x);
  EXPECT_EQ(y[0], 1);
  EXPECT_EQ(y[1], 1);
  EXPECT_EQ(y[2], 0);
  EXPECT_EQ(y[3], 0);
  EXPECT_EQ(y[4], kInfinity);
  EXPECT_EQ(y[5], kInfinity);
  EXPECT_EQ(y[6], 0);
  EXPECT_EQ(y[7], kInfinity);
  EXPECT_TRUE(std::isnan(Exp(Splat(std::nanf("")))[5]));
}

TEST(Vector, SigmoidIsRightAtBothEnds) {
  for (float x : {-200.0f, -20.0f, -1.0f, 0.0f, 3.0f, 200.0f}) {
    const double expected = 1 / (1 + std::exp(-double{x}));
    EXPECT_NEAR(Sigmoid(Splat(x))[0], expected, 3e-7 * expected + 1e-38) << x;
  }
}

// All of bfloat16's exponents, ties of both kinds, infinities and NaN.
TEST(Vector, RoundsToBFloat16AsTheScalarDoes) {
  std::vector<float> values;
  for (uint32_t high = 0; high < 0x10000; high += 7) {
    for (uint32_t low : {0u, 1u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu})
      values.push_back(std::bit_cast<float>((high << 16) | low));
  }
  std::vector<BFloat16> rounded(values.size());
  ForEachVector(
      static_cast<int64_t>(values.size()), [&](int64_t i, int64_t lanes) {
        Store(rounded.data() + i, Load(values.data() + i, lanes), lanes);
      });
  for (size_t i = 0; i < values.size(); ++i)
    ASSERT_EQ(rounded[i].bits, ToBFloat16(values[i]).bits) << values[i];
}

TEST(Vector, TailsReadAndWriteNothingBeyond) {
  for (int64_t n : {0, 1, 7, 8, 9, 33}) {
    const std::vector<float> x(static_cast<size_t>(n), 2.0f);
    std::vector<float> y(static_cast<size_t>(n) + 1, -1.0f);
    ForEachVector(n, [&](int64_t i, int64_t lanes) {
      Store(y.data() + i, Load(x.data() + i, lanes) * 3.0f, lanes);
    });
    for (int64_t i = 0; i < n; ++i) EXPECT_EQ(y[static_cast<size_t>(i)], 6);
    EXPECT_EQ(y.back(), -1);
  }
}

TEST(Vector, LanesPastTheTailHoldTheGivenRest) {
  const BFloat16 x[3] = {ToBFloat16(1), ToBFloat16(2), ToBFloat16(3)};
  const Float8 v = Load(x, 3, -5.0f);
  EXPECT_EQ(v[2], 3);
  EXPECT_EQ(v[3], -5);
  EXPECT_EQ(v[7], -5);
  EXPECT_EQ(MaxLane(v), 3);
}

TEST(Vector, SumsAndRootsAreOfEachLane) {
  const Float8 v = {1, 4, 9, 16, 25, 36, 49, 64};
  EXPECT_EQ(Sum(v), 204);
  EXPECT_EQ(Sum(Sqrt(v)), 36);
  EXPECT_EQ(Sum(LowDoubles(v)), 30);
  EXPECT_EQ(Sum(HighDoubles(v)), 174);
}

}  // namespace
}  // namespace moe::cpu
