#include "comm/traffic.h"

#include <numeric>

#include "comm/base/check.h"
#include "comm/pieces.h"

namespace moe {
namespace {

constexpr int64_t kSmallBytes = 4096;

int64_t Others(GroupPlace place) { return place.size - 1; }

}  // namespace

bool AllReduceHasOneStage(int64_t count, DType dtype) {
  return count * SizeOf(dtype) <= kSmallBytes;
}

bool BroadcastHasOneStage(int size, int64_t count, DType dtype) {
  return size <= 2 || count * SizeOf(dtype) <= kSmallBytes;
}

int64_t AllReduceBytes(GroupPlace place, int64_t count, DType dtype) {
  if (AllReduceHasOneStage(count, dtype))
    return Others(place) * count * SizeOf(dtype);
  // Each other rank's piece to it; then the sum of this rank's piece to all.
  const int64_t own = Pieces{count, place.size}.Count(place.rank);
  return (count - own + Others(place) * own) * SizeOf(dtype);
}

int64_t ReduceScatterBytes(GroupPlace place, int64_t output_count,
                           DType dtype) {
  return Others(place) * output_count * SizeOf(dtype);
}

int64_t AllGatherBytes(GroupPlace place, int64_t input_count, DType dtype) {
  return Others(place) * input_count * SizeOf(dtype);
}

int64_t BroadcastBytes(GroupPlace place, int root, int64_t count, DType dtype) {
  const bool is_root = place.rank == root;
  if (BroadcastHasOneStage(place.size, count, dtype))
    return is_root ? Others(place) * count * SizeOf(dtype) : 0;
  // The root deals the pieces; then each piece goes to all but the root.
  const int64_t own = Pieces{count, place.size}.Count(place.rank);
  const int64_t dealt = is_root ? count - own : 0;
  const int64_t receivers = Others(place) - (is_root ? 0 : 1);
  return (dealt + receivers * own) * SizeOf(dtype);
}

int64_t AllToAllVBytes(GroupPlace place, absl::Span<const int64_t> send_counts,
                       DType dtype) {
  CHECK(send_counts.size() == static_cast<size_t>(place.size));
  const int64_t all =
      std::accumulate(send_counts.begin(), send_counts.end(), int64_t{0});
  return (all - send_counts[static_cast<size_t>(place.rank)]) * SizeOf(dtype);
}

}  // namespace moe
