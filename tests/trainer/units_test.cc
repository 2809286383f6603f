#include "trainer/config/units.h"

#include <gtest/gtest.h>

#include <limits>

namespace moe {
namespace {

TEST(Units, CommasStandBetweenThousands) {
  EXPECT_EQ(WithCommas(0), "0");
  EXPECT_EQ(WithCommas(999), "999");
  EXPECT_EQ(WithCommas(1000), "1,000");
  EXPECT_EQ(WithCommas(46702792704), "46,702,792,704");
  EXPECT_EQ(WithCommas(-123456), "-123,456");
  EXPECT_EQ(WithCommas(-123), "-123");
}

TEST(Units, OneOfAKindIsNotSeveral) {
  EXPECT_EQ(WithCommas(0, "token"), "0 tokens");
  EXPECT_EQ(WithCommas(1, "token"), "1 token");
  EXPECT_EQ(WithCommas(4096, "token"), "4,096 tokens");
}

TEST(Units, BytesAreBinary) {
  EXPECT_EQ(FormatBytes(0), "0 B");
  EXPECT_EQ(FormatBytes(1023), "1023 B");
  EXPECT_EQ(FormatBytes(1024), "1.00 KiB");
  EXPECT_EQ(FormatBytes(15 * 1024 + 512), "15.5 KiB");
  EXPECT_EQ(FormatBytes((int64_t{1} << 20) - 1), "1.00 MiB");
  EXPECT_EQ(FormatBytes(int64_t{3} << 29), "1.50 GiB");
  EXPECT_EQ(FormatBytes(std::numeric_limits<int64_t>::max()), "8.00 EiB");
}

TEST(Units, DecimalsHaveThreeDigits) {
  EXPECT_EQ(FormatDecimal(0, "FLOP"), "0.00 FLOP");
  EXPECT_EQ(FormatDecimal(999, "FLOP"), "999 FLOP");
  EXPECT_EQ(FormatDecimal(999.6, "FLOP"), "1.00 kFLOP");
  EXPECT_EQ(FormatDecimal(81.34e9, "FLOP"), "81.3 GFLOP");
  EXPECT_EQ(FormatDecimal(2.5e17, "FLOP"), "250 PFLOP");
}

}  // namespace
}  // namespace moe
