#include "moe/layers/arena.h"

#include <cstdint>
#include <cstring>

#include "comm/base/buffer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace moe {
namespace {

constexpr int64_t kMegabyte = int64_t{1} << 20;

Tensor Bytes(Arena& arena, int64_t num_bytes) {
  return arena.Allocate({num_bytes / 4}, DType::kFloat32).value();
}

TEST(Arena, TensorsAreAlignedAndDoNotOverlap) {
  Arena arena;
  const Tensor a = arena.Allocate({3}, DType::kBFloat16).value();
  const Tensor b = arena.Allocate({5, 7}, DType::kFloat32).value();
  const Tensor c = arena.Allocate({1}, DType::kInt32).value();
  for (const Tensor& x : {a, b, c})
    EXPECT_EQ(reinterpret_cast<uintptr_t>(x.raw()) % 64, 0u);
  std::memset(a.raw(), 1, 6);
  std::memset(b.raw(), 2, 140);
  std::memset(c.raw(), 3, 4);
  EXPECT_EQ(static_cast<const char*>(a.raw())[5], 1);
  EXPECT_EQ(static_cast<const char*>(b.raw())[139], 2);
}

TEST(Arena, ReleasedMemoryIsUsedAgain) {
  Arena arena;
  Bytes(arena, 128);
  const Arena::Mark mark = arena.mark();
  const Tensor first = Bytes(arena, 256);
  arena.Release(mark);
  EXPECT_EQ(Bytes(arena, 64).raw(), first.raw());
}

TEST(Arena, AScopeGivesBackWhatWasAllocatedInIt) {
  Arena arena;
  void* inside = nullptr;
  {
    ArenaScope scope(arena);
    inside = Bytes(arena, 64).raw();
  }
  EXPECT_EQ(Bytes(arena, 64).raw(), inside);
}

TEST(Arena, WhatDoesNotFitGetsAChunkAndEarlierTensorsStay) {
  Arena arena;
  const Tensor small = Bytes(arena, 64);
  small.data<float>()[0] = 42;
  const Tensor large = Bytes(arena, 3 * kMegabyte);
  large.data<float>()[large.size() - 1] = 1;
  EXPECT_EQ(small.data<float>()[0], 42);
  EXPECT_EQ(arena.num_chunks(), 2);
  EXPECT_GT(arena.capacity_bytes(), 3 * kMegabyte);
}

TEST(Arena, TheSameSequenceAgainTakesNoMemory) {
  Arena arena;
  auto step = [&arena] {
    ArenaScope scope(arena);
    Bytes(arena, kMegabyte / 2);
    Bytes(arena, 2 * kMegabyte);
    Bytes(arena, kMegabyte);
    Bytes(arena, 64);
  };
  step();
  step();  // takes one chunk for the first step's several
  const int64_t buffers = Buffer::num_allocated();
  const int64_t capacity = arena.capacity_bytes();
  for (int i = 0; i < 5; ++i) step();
  EXPECT_EQ(Buffer::num_allocated(), buffers);
  EXPECT_EQ(arena.capacity_bytes(), capacity);
}

TEST(Arena, AnEmptyArenaOfSeveralChunksStartsAgainWithOneForThePeak) {
  Arena arena;
  const auto step = [&arena](int64_t num_bytes) {
    ArenaScope scope(arena);
    for (int i = 0; i < 7; ++i) Bytes(arena, num_bytes);
  };
  step(3 * kMegabyte);
  EXPECT_EQ(arena.capacity_bytes(), 0);
  step(3 * kMegabyte);
  EXPECT_EQ(arena.num_chunks(), 1);
  const int64_t capacity = arena.capacity_bytes();
  EXPECT_EQ(capacity, 21 * kMegabyte * 9 / 8);
  step(kMegabyte);                      // less is no reason to give any back
  step(3 * kMegabyte + kMegabyte / 4);  // nor a little more to take any
  EXPECT_EQ(arena.capacity_bytes(), capacity);
  step(4 * kMegabyte);
  step(4 * kMegabyte);
  EXPECT_EQ(arena.num_chunks(), 1);
  EXPECT_EQ(arena.capacity_bytes(), 28 * kMegabyte * 9 / 8);
}

TEST(Arena, PeakIsTheMostInUseAtOnce) {
  Arena arena;
  {
    ArenaScope scope(arena);
    Bytes(arena, 640);
    Bytes(arena, 64);
  }
  Bytes(arena, 64);
  EXPECT_EQ(arena.peak_bytes(), 704);
}

TEST(Arena, ATensorOfNoElementsIsNotNull) {
  Arena arena;
  const Tensor none = arena.Allocate({0, 8}, DType::kFloat32).value();
  EXPECT_EQ(none.size(), 0);
  EXPECT_FALSE(none.is_null());
}

TEST(Arena, MoreThanTheMachineHasIsAnError) {
  Arena arena;
  const absl::Status status =
      arena.Allocate({int64_t{1} << 58}, DType::kFloat32).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  // The arena goes on working.
  EXPECT_FALSE(Bytes(arena, 64).is_null());
}

}  // namespace
}  // namespace moe
