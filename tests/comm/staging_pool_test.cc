#include "comm/mpi/staging_pool.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace moe {
namespace {

TEST(StagingPool, HandsOutWhatWasReturned) {
  StagingPool pool;
  Buffer first = pool.Take(10000).value();
  void* const data = first.data();
  pool.Return(std::move(first));
  // Nearly the same size is served by the same memory.
  EXPECT_EQ(pool.Take(10001).value().data(), data);
}

TEST(StagingPool, ASizeIsRoundedUpByAQuarterAtMost) {
  StagingPool pool;
  for (int64_t num_bytes : {4097, 5120, 5121, 8191, 8192, 8193, 1234567}) {
    const int64_t taken = pool.Take(num_bytes).value().num_bytes();
    EXPECT_GE(taken, num_bytes);
    EXPECT_LE(taken, num_bytes + num_bytes / 4);
  }
}

TEST(StagingPool, RepeatedStepsMakeNoBuffer) {
  StagingPool pool;
  const auto step = [&] {
    std::vector<Buffer> taken;
    for (int64_t num_bytes : {100, 90000, 8000, 90000, 5000, 1 << 20})
      taken.push_back(pool.Take(num_bytes).value());
    for (Buffer& buffer : taken) pool.Return(std::move(buffer));
  };
  step();
  const int64_t num_allocated = Buffer::num_allocated();
  for (int i = 0; i < 5; ++i) step();
  EXPECT_EQ(Buffer::num_allocated(), num_allocated);
}

TEST(StagingPool, RetiredMemoryIsNotHandedOut) {
  StagingPool pool;
  Buffer buffer = pool.Take(5000).value();
  void* const data = buffer.data();
  pool.Retire(std::move(buffer));
  EXPECT_NE(pool.Take(5000).value().data(), data);
}

}  // namespace
}  // namespace moe
