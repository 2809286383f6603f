#include "comm/base/dtype.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>

namespace moe {
namespace {

float Bits(uint32_t bits) { return std::bit_cast<float>(bits); }

TEST(DType, SizesAndNames) {
  EXPECT_EQ(SizeOf(DType::kBFloat16), 2);
  EXPECT_EQ(SizeOf(DType::kFloat32), 4);
  EXPECT_EQ(SizeOf(DType::kInt32), 4);
  EXPECT_EQ(SizeOf(DType::kFloat64), 8);
  EXPECT_EQ(SizeOf(DType::kInt64), 8);
  EXPECT_EQ(Name(DType::kBFloat16), "bfloat16");
  EXPECT_EQ(Name(DType::kInt64), "int64");
}

TEST(BFloat16, EveryValueSurvivesFloatAndBack) {
  for (uint32_t bits = 0; bits < 0x10000u; ++bits) {
    const BFloat16 x = {static_cast<uint16_t>(bits)};
    const float wide = ToFloat(x);
    if (std::isnan(wide)) {
      EXPECT_TRUE(std::isnan(ToFloat(ToBFloat16(wide))));
    } else {
      ASSERT_EQ(ToBFloat16(wide).bits, x.bits);
    }
  }
}

TEST(BFloat16, RoundsToNearestAndTiesToEven) {
  EXPECT_EQ(ToBFloat16(Bits(0x3f800000)).bits, 0x3f80);  // exact
  EXPECT_EQ(ToBFloat16(Bits(0x3f807fff)).bits, 0x3f80);  // below half
  EXPECT_EQ(ToBFloat16(Bits(0x3f808000)).bits, 0x3f80);  // half, even below
  EXPECT_EQ(ToBFloat16(Bits(0x3f808001)).bits, 0x3f81);  // above half
  EXPECT_EQ(ToBFloat16(Bits(0x3f818000)).bits, 0x3f82);  // half, even above
  EXPECT_EQ(ToBFloat16(Bits(0xbf818000)).bits, 0xbf82);
}

TEST(BFloat16, KeepsInfinitiesAndNaN) {
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(ToFloat(ToBFloat16(infinity)), infinity);
  EXPECT_EQ(ToFloat(ToBFloat16(-infinity)), -infinity);
  // Beyond the largest bfloat16 is infinity.
  EXPECT_EQ(ToFloat(ToBFloat16(std::numeric_limits<float>::max())), infinity);
  // A NaN whose set bits are all in the lower half.
  EXPECT_TRUE(std::isnan(ToFloat(ToBFloat16(Bits(0x7f800001)))));
}

}  // namespace
}  // namespace moe
