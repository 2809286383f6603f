#include "comm/mpi/staging_pool.h"

#include <bit>
#include <utility>

namespace moe {
namespace {

constexpr uint64_t kSmallestBytes = 4096;

// Sizes are rounded up to four classes for each power of two, so that nearly
// equal requests share Buffers and at most a fifth is wasted. A request is
// served by its own class only: a larger one would be missed elsewhere.
int64_t SizeClass(int64_t num_bytes) {
  const auto bytes = static_cast<uint64_t>(num_bytes);
  if (bytes <= kSmallestBytes) return int64_t{kSmallestBytes};
  const uint64_t step = std::bit_floor(bytes - 1) / 4;
  return static_cast<int64_t>((bytes + step - 1) / step * step);
}

}  // namespace

absl::StatusOr<Buffer> StagingPool::Take(int64_t num_bytes) {
  const int64_t size = SizeClass(num_bytes);
  for (Buffer& buffer : free_) {
    if (buffer.num_bytes() != size) continue;
    Buffer taken = std::move(buffer);
    buffer = std::move(free_.back());
    free_.pop_back();
    return taken;
  }
  return Buffer::Allocate(size);
}

void StagingPool::Return(Buffer buffer) {
  if (buffer.num_bytes() > 0) free_.push_back(std::move(buffer));
}

void StagingPool::Retire(Buffer buffer) {
  if (buffer.num_bytes() > 0) retired_.push_back(std::move(buffer));
}

}  // namespace moe
