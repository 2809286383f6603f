#include "trainer/checkpoint/format/half.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "comm/base/dtype.h"

namespace moe {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// A half's value by its definition, in double precision.
double ValueOfHalf(uint16_t half) {
  const double sign = (half & 0x8000u) != 0 ? -1 : 1;
  const int exponent = (half >> 10) & 31;
  const int fraction = half & 1023;
  if (exponent == 31)
    return fraction == 0 ? sign * std::numeric_limits<double>::infinity()
                         : std::numeric_limits<double>::quiet_NaN();
  return exponent == 0 ? sign * std::ldexp(fraction, -24)
                       : sign * std::ldexp(1024 + fraction, exponent - 25);
}

TEST(Half, EveryHalfHasItsValue) {
  for (uint32_t bits = 0; bits < 0x10000u; ++bits) {
    const uint16_t half = static_cast<uint16_t>(bits);
    const double value = ValueOfHalf(half);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(HalfToFloat(half))) << bits;
    } else {
      EXPECT_EQ(HalfToFloat(half), value) << bits;
      EXPECT_EQ(std::signbit(HalfToFloat(half)), bits >= 0x8000u) << bits;
    }
  }
}

TEST(Half, EveryHalfComesBackFromItsFloat) {
  for (uint32_t bits = 0; bits < 0x10000u; ++bits) {
    const uint16_t half = static_cast<uint16_t>(bits);
    const float value = HalfToFloat(half);
    // A NaN becomes quiet and keeps the rest.
    const uint16_t quiet = std::isnan(value) ? 0x200 : 0;
    EXPECT_EQ(FloatToHalf(value), half | quiet) << bits;
  }
}

// Checks `round`, which gives 16 bits, at every pair of neighbours from 0 to
// `infinity`: below, at and above the middle, which is a float32.
template <typename Round, typename Value>
void ExpectNearestEven(uint16_t infinity, Round round, Value value_of) {
  for (uint16_t low = 0; low < infinity; ++low) {
    const uint16_t high = static_cast<uint16_t>(low + 1);
    // The middle to infinity is where the next number would round up.
    const double below = value_of(low);
    const double step = high == infinity
                            ? below - value_of(static_cast<uint16_t>(low - 1))
                            : value_of(high) - below;
    const float middle = static_cast<float>(below + step / 2);
    ASSERT_EQ(middle, below + step / 2) << low;
    const uint16_t even = low % 2 == 0 ? low : high;
    EXPECT_EQ(round(middle), even) << low;
    EXPECT_EQ(round(std::nextafterf(middle, 0)), low) << low;
    EXPECT_EQ(round(std::nextafterf(middle, kInfinity)), high) << low;
    EXPECT_EQ(round(-middle), even | 0x8000u) << low;
  }
}

TEST(Half, RoundsToNearestTiesToEvenSubnormalsToo) {
  ExpectNearestEven(0x7c00, FloatToHalf, ValueOfHalf);
}

TEST(Half, BFloat16RoundsToNearestTiesToEvenSubnormalsToo) {
  ExpectNearestEven(
      0x7f80, [](float x) { return ToBFloat16(x).bits; },
      [](uint16_t bits) {
        return static_cast<double>(
            std::bit_cast<float>(static_cast<uint32_t>(bits) << 16));
      });
}

TEST(Half, EndsOfTheRange) {
  EXPECT_EQ(FloatToHalf(0.0f), 0x0000);
  EXPECT_EQ(FloatToHalf(-0.0f), 0x8000);
  EXPECT_EQ(FloatToHalf(1.0f), 0x3c00);
  EXPECT_EQ(FloatToHalf(65504.0f), 0x7bff);
  EXPECT_EQ(FloatToHalf(std::nextafterf(65520.0f, 0)), 0x7bff);
  EXPECT_EQ(FloatToHalf(65520.0f), 0x7c00);
  EXPECT_EQ(FloatToHalf(std::numeric_limits<float>::max()), 0x7c00);
  EXPECT_EQ(FloatToHalf(-kInfinity), 0xfc00);
  EXPECT_EQ(FloatToHalf(0x1p-24f), 0x0001);
  EXPECT_EQ(FloatToHalf(0x1p-25f), 0x0000);  // a tie
  EXPECT_EQ(FloatToHalf(std::numeric_limits<float>::denorm_min()), 0x0000);
  EXPECT_EQ(FloatToHalf(std::bit_cast<float>(0x7f800001u)), 0x7e00);
  EXPECT_EQ(FloatToHalf(std::bit_cast<float>(0xffc02000u)), 0xfe01);
}

}  // namespace
}  // namespace moe
