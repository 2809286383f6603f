#include "trainer/report/machine.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>

namespace moe {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;

TEST(Machine, RemembersTheMostThatWasResident) {
  ForgetPeakResidentBytes();
  const int64_t before = PeakResidentBytes();
  ASSERT_GT(before, 0);
  void* const memory = mmap(nullptr, 64 * kMiB, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  std::memset(memory, 1, 64 * kMiB);
  EXPECT_GE(ResidentBytes(), 64 * kMiB);
  ASSERT_EQ(munmap(memory, 64 * kMiB), 0);
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
