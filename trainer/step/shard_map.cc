#include "trainer/step/shard_map.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "comm/base/check.h"
#include "comm/base/round_up.h"

namespace moe {

ShardMap::ShardMap(int64_t arena_size, int num_owners, int64_t bucket_elements)
    : arena_size_(arena_size), num_owners_(num_owners) {
  const int64_t unit = ParameterTable::kAlignment * num_owners;
  CHECK(arena_size % unit == 0 && bucket_elements > 0);
  bucket_size_ = RoundUp(bucket_elements, unit);
  num_buckets_ = static_cast<int>(CeilDiv(arena_size, bucket_size_));
}

ShardMap::Range ShardMap::Bucket(int bucket) const {
  const int64_t begin = bucket * bucket_size_;
  return {begin, std::min(bucket_size_, arena_size_ - begin)};
}

ShardMap::Range ShardMap::Slice(int bucket, int owner) const {
  const Range range = Bucket(bucket);
  const int64_t count = range.count / num_owners_;
  return {range.begin + owner * count, count};
}

int64_t ShardMap::ShardOffset(int bucket) const {
  return bucket * (bucket_size_ / num_owners_);
}

ShardMaps MakeShardMaps(const ParameterTable& table, const Mesh& mesh,
                        int64_t bucket_elements) {
  const auto map = [&](ArenaKind kind) {
    return ShardMap(table.ArenaSize(kind), mesh.Size(ReductionAxis(kind)),
                    bucket_elements);
  };
  return [&]<size_t... i>(std::index_sequence<i...>) {
    return ShardMaps{map(kTrainedArenaKinds[i])...};
  }
  (std::make_index_sequence<kNumTrainedArenaKinds>());
}

std::vector<ShardSegment> SegmentsOfOwner(const ParameterTable& table,
                                          ArenaKind kind, const ShardMap& map,
                                          int owner) {
  std::vector<ShardSegment> segments;
  int bucket = 0;
  for (const Parameter& parameter : table.parameters()) {
    if (!parameter.local || parameter.arena != kind) continue;
    const int64_t end = parameter.offset + parameter.slice.size();
    while (bucket < map.num_buckets()) {
      const ShardMap::Range slice = map.Slice(bucket, owner);
      const int64_t from = std::max(slice.begin, parameter.offset);
      const int64_t to = std::min(slice.begin + slice.count, end);
      if (from < to) {
        const int64_t shard_begin =
            map.ShardOffset(bucket) + from - slice.begin;
        ShardSegment* last = segments.empty() ? nullptr : &segments.back();
        if (last != nullptr && last->decay == parameter.decay &&
            last->arena_begin + last->count == from) {
          last->count += to - from;
        } else {
          segments.push_back({from, shard_begin, to - from, parameter.decay});
        }
      }
      if (slice.begin + slice.count >= end) break;  // the next parameter's too
      ++bucket;
    }
  }
  return segments;
}

}  // namespace moe
