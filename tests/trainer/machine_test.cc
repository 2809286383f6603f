#include "trainer/machine.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>

namespace moe {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;

TEST(Machine, RemembersTheMostThatWasResident) {
  ForgetPeakResidentBytes();
  const int64_t before = PeakResidentBytes();
  ASSERT_GT(before, 0);
  {
    const auto memory = std::make_unique<char[]>(64 * kMiB);
    std::memset(memory.get(), 1, 64 * kMiB);
    EXPECT_GE(ResidentBytes(), 64 * kMiB) << memory[kMiB];
  }
  EXPECT_GE(PeakResidentBytes(), before + 60 * kMiB) << "it is free by now";
  ForgetPeakResidentBytes();
  EXPECT_LT(PeakResidentBytes(), before + 60 * kMiB) << "it was forgotten";
}

TEST(Machine, KnowsItsMemoryAndCache) {
  EXPECT_GT(AvailableBytes(), ResidentBytes());
  EXPECT_GE(LastCacheBytes(), kMiB / 4);
  EXPECT_LT(LastCacheBytes(), 16384 * kMiB);
}

// With instructions that this processor has.
TEST(Machine, MeasuresItsPeak) {
  EXPECT_GT(PeakFlopsPerCore(DType::kFloat32), 0);
  EXPECT_GT(PeakFlopsPerCore(DType::kBFloat16), 0);
}

}  // namespace
}  // namespace moe
