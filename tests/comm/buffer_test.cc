#include "comm/base/buffer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

namespace moe {
namespace {

using ::testing::HasSubstr;

Buffer Make(int64_t num_bytes) { return Buffer::Allocate(num_bytes).value(); }

TEST(Buffer, IsAlignedToACacheLineAndZero) {
  for (int64_t num_bytes : {1, 63, 64, 65, 100001}) {
    const Buffer buffer = Make(num_bytes);
    EXPECT_EQ(buffer.num_bytes(), num_bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % 64, 0u);
    const char* bytes = static_cast<const char*>(buffer.data());
    EXPECT_EQ(std::count(bytes, bytes + num_bytes, '\0'), num_bytes);
  }
}

TEST(Buffer, OfNoBytesIsOrdinary) {
  const int64_t num_allocated = Buffer::num_allocated();
  const Buffer buffer = Make(0);
  EXPECT_EQ(buffer.data(), nullptr);
  EXPECT_EQ(buffer.num_bytes(), 0);
  EXPECT_EQ(Buffer::num_allocated(), num_allocated);
}

TEST(Buffer, MovingLeavesNothingBehind) {
  Buffer first = Make(10);
  void* const data = first.data();
  Buffer second = std::move(first);
  EXPECT_EQ(second.data(), data);
  EXPECT_EQ(second.num_bytes(), 10);
  EXPECT_EQ(first.data(), nullptr);  // NOLINT: a moved-from Buffer is empty
  EXPECT_EQ(first.num_bytes(), 0);
}

TEST(Buffer, MoveAssignmentFreesWhatWasThere) {
  const int64_t live = Buffer::live_bytes();
  Buffer kept = Make(100);
  Buffer replaced = Make(1000);
  replaced = std::move(kept);
  EXPECT_EQ(Buffer::live_bytes(), live + 100);
  EXPECT_EQ(replaced.num_bytes(), 100);
  Buffer& same = replaced;
  replaced = std::move(same);
  EXPECT_EQ(replaced.num_bytes(), 100);
}

TEST(Buffer, LiveBytesAndAllocationsAreCounted) {
  const int64_t live = Buffer::live_bytes();
  const int64_t num_allocated = Buffer::num_allocated();
  {
    const Buffer a = Make(100);
    const Buffer b = Make(23);
    EXPECT_EQ(Buffer::live_bytes(), live + 123);
  }
  EXPECT_EQ(Buffer::live_bytes(), live);
  EXPECT_EQ(Buffer::num_allocated(), num_allocated + 2);
}

TEST(Buffer, ARefusalNamesTheSize) {
  const auto refused = Buffer::Allocate(int64_t{1} << 60);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(refused.status().message()),
              HasSubstr("1152921504606846976 bytes"));
  EXPECT_FALSE(Buffer::Allocate(INT64_MAX).ok());
}

TEST(Buffer, AdoptedMemoryIsCountedAndGivenBackOnce) {
  const int64_t live = Buffer::live_bytes();
  int given_back = 0;
  int memory = 0;
  {
    Buffer first =
        Buffer::Adopt(&memory, sizeof(memory), Device(), [&] { ++given_back; });
    Buffer second = std::move(first);
    EXPECT_EQ(second.data(), &memory);
    EXPECT_EQ(Buffer::live_bytes(), live + 4);
    EXPECT_EQ(given_back, 0);
  }
  EXPECT_EQ(given_back, 1);
  EXPECT_EQ(Buffer::live_bytes(), live);
}

}  // namespace
}  // namespace moe
