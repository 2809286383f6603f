#include "comm/plan_context.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>

namespace moe {
namespace {

// More than any machine has.
constexpr int64_t kHuge = int64_t{1} << 50;

TEST(PlanContext, GivesAlignedAddressesApartFromEachOther) {
  PlanContext context;
  const Buffer first = *context.Allocate(kHuge + 1);
  const Buffer second = *context.AllocateUninitialised(1);
  const auto begin = reinterpret_cast<uintptr_t>(first.data());
  const auto next = reinterpret_cast<uintptr_t>(second.data());
  EXPECT_NE(begin, 0u);
  EXPECT_EQ(begin % 64, 0u);
  EXPECT_EQ(next % 64, 0u);
  EXPECT_GT(next - begin, static_cast<uintptr_t>(kHuge));
  EXPECT_EQ(context.Allocate(0)->data(), nullptr);
}

TEST(PlanContext, CountsWhatLives) {
  PlanContext context;
  const int64_t before = Buffer::live_bytes();
  {
    const Buffer one = *context.Allocate(kHuge);
    const Buffer other = *context.Allocate(100);
    EXPECT_EQ(context.live_bytes(), kHuge + 100);
  }
  EXPECT_EQ(context.live_bytes(), 0);
  EXPECT_EQ(Buffer::live_bytes(), before);
}

TEST(PlanContext, NeverRunsOut) {
  PlanContext context;
  for (int i = 0; i < 100; ++i) {
    const auto buffer = context.Allocate(kHuge);
    ASSERT_TRUE(buffer.ok());
    EXPECT_NE(buffer->data(), nullptr);
  }
}

TEST(PlanContext, CopiesFromItAreZeros) {
  PlanContext context;
  const Buffer buffer = *context.Allocate(kHuge);
  std::array<int32_t, 3> host = {1, 2, 3};
  context.Upload(buffer.data(), host.data(), sizeof(host));
  context.Download(host.data(), buffer.data(), sizeof(host));
  EXPECT_EQ(host, (std::array<int32_t, 3>{0, 0, 0}));
  const HostCopy few = *context.StartCopy({buffer.data(), 3, DType::kFloat32});
  const HostCopy many =
      *context.StartCopy({buffer.data(), 1000, DType::kInt64});
  ASSERT_EQ(few.values<float>().size(), 3u);
  for (float value : few.values<float>()) EXPECT_EQ(value, 0);
  ASSERT_EQ(many.values<int64_t>().size(), 1000u);
  for (int64_t value : many.values<int64_t>()) EXPECT_EQ(value, 0);
  EXPECT_TRUE(context.Synchronize().ok());
}

TEST(PlanContext, ShowsOnceWhatAKernelSays) {
  PlanContext context;
  const Buffer buffer = *context.Allocate(kHuge);
  const ConstMemoryView counts(buffer.data(), 2, DType::kInt64);
  context.Show(counts.data, {3, 4});
  const HostCopy shown = *context.StartCopy(counts);
  EXPECT_EQ(shown.values<int64_t>()[0], 3);
  EXPECT_EQ(shown.values<int64_t>()[1], 4);
  EXPECT_EQ(context.StartCopy(counts)->values<int64_t>()[0], 0);
}

TEST(PlanContextDeathTest, WhoReadsItsMemoryDies) {
  PlanContext context;
  const Buffer buffer = *context.Allocate(64);
  EXPECT_DEATH(
      static_cast<void>(*static_cast<const volatile char*>(buffer.data())), "");
}

}  // namespace
}  // namespace moe
