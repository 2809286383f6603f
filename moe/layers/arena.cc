#include "moe/layers/arena.h"

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <utility>

#include "comm/base/round_up.h"
#include "comm/base/status_macros.h"

namespace moe {
namespace {

constexpr int64_t kAlignment = 64;
constexpr int64_t kMinimumChunkBytes = int64_t{1} << 16;

}  // namespace

// A chunk that is too small is passed over, never split.
ArenaLayout::Mark ArenaLayout::Find(int64_t bytes) const {
  Mark place = top_;
  while (place.chunk < chunk_bytes_.size() &&
         place.offset + RoundUp(bytes, kAlignment) > chunk_bytes_[place.chunk])
    place = {.chunk = place.chunk + 1, .used = place.used};
  return place;
}

int64_t ArenaLayout::NewChunkBytes(int64_t bytes) const {
  if (Find(bytes).chunk < chunk_bytes_.size()) return 0;
  // An eighth to spare for steps that need a little more, which takes none of a
  // host's memory until then.
  const int64_t wished = chunk_bytes_.empty() ? peak_bytes_ + peak_bytes_ / 8
                                              : capacity_bytes() / 8;
  return RoundUp(std::max({bytes, kMinimumChunkBytes, wished}), kAlignment);
}

ArenaLayout::Mark ArenaLayout::Push(int64_t bytes) {
  const int64_t new_chunk_bytes = NewChunkBytes(bytes);
  if (new_chunk_bytes > 0) chunk_bytes_.push_back(new_chunk_bytes);
  const Mark place = Find(bytes);
  top_ = place;
  top_.offset += RoundUp(bytes, kAlignment);
  top_.used += RoundUp(bytes, kAlignment);
  peak_bytes_ = std::max(peak_bytes_, top_.used);
  return place;
}

void ArenaLayout::Release(Mark mark) {
  top_ = mark;
  if (top_.used == 0 && chunk_bytes_.size() > 1) {
    chunk_bytes_.clear();
    top_ = {};
  }
}

int64_t ArenaLayout::capacity_bytes() const {
  return std::accumulate(chunk_bytes_.begin(), chunk_bytes_.end(), int64_t{0});
}

absl::StatusOr<Tensor> Arena::Allocate(std::initializer_list<int64_t> shape,
                                       DType dtype) {
  const int64_t bytes = Tensor(nullptr, shape, dtype).size() * SizeOf(dtype);
  const int64_t new_chunk_bytes = layout_.NewChunkBytes(bytes);
  if (new_chunk_bytes > 0) {
    ASSIGN_OR_RETURN(Buffer chunk,
                     context_.AllocateUninitialised(new_chunk_bytes));
    chunks_.push_back(std::move(chunk));
  }
  const Mark place = layout_.Push(bytes);
  char* chunk = static_cast<char*>(chunks_[place.chunk].data());
  return Tensor(chunk + place.offset, shape, dtype);
}

void Arena::Release(Mark mark) {
  layout_.Release(mark);
  if (layout_.num_chunks() == 0) chunks_.clear();
}

}  // namespace moe
