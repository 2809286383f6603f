#include "moe/arena.h"

#include <algorithm>
#include <utility>

#include "comm/round_up.h"
#include "comm/status_macros.h"

namespace moe {
namespace {

constexpr int64_t kAlignment = 64;
constexpr int64_t kMinimumChunkBytes = int64_t{1} << 20;

}  // namespace

absl::StatusOr<Tensor> Arena::Allocate(std::initializer_list<int64_t> shape,
                                       DType dtype) {
  const int64_t bytes =
      RoundUp(Tensor(nullptr, shape, dtype).size() * SizeOf(dtype), kAlignment);
  // A chunk that is too small for this tensor is passed over, never split.
  while (top_.chunk < chunks_.size() &&
         top_.offset + bytes > chunks_[top_.chunk].num_bytes()) {
    ++top_.chunk;
    top_.offset = 0;
  }
  if (top_.chunk == chunks_.size()) {
    const int64_t chunk_bytes =
        std::max({bytes, kMinimumChunkBytes, capacity_bytes() / 8});
    ASSIGN_OR_RETURN(
        Buffer chunk,
        Buffer::Allocate(RoundUp(chunk_bytes, kAlignment), device_));
    chunks_.push_back(std::move(chunk));
  }
  char* data = static_cast<char*>(chunks_[top_.chunk].data()) + top_.offset;
  top_.offset += bytes;
  int64_t used = top_.offset;
  for (size_t i = 0; i < top_.chunk; ++i) used += chunks_[i].num_bytes();
  peak_bytes_ = std::max(peak_bytes_, used);
  return Tensor(data, shape, dtype);
}

int64_t Arena::capacity_bytes() const {
  int64_t bytes = 0;
  for (const Buffer& chunk : chunks_) bytes += chunk.num_bytes();
  return bytes;
}

}  // namespace moe
