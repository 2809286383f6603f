#ifndef TRAINER_STEP_SHARD_MAP_H_
#define TRAINER_STEP_SHARD_MAP_H_

#include <array>
#include <cstdint>
#include <vector>

#include "comm/mesh.h"
#include "moe/parameters/parameter_table.h"

namespace moe {

// Which rank of its reduction group owns which elements of an arena (ZeRO,
// Rajbhandari et al., 2020, stage 1). An arena is cut into buckets, and every
// bucket into one equal slice for each rank, so that a bucket can be reduced
// as soon as backward has filled it:
//
//   arena    | bucket 0          | bucket 1          | ...
//   owner    | r0  r1  r2  r3    | r0  r1  r2  r3    | ...
//
// A rank's shard is its slices one after another.
class ShardMap {
 public:
  // `bucket_elements` is rounded up so that slices are aligned; the last
  // bucket is what is left.
  ShardMap(int64_t arena_size, int num_owners, int64_t bucket_elements);

  int num_owners() const { return num_owners_; }
  int num_buckets() const { return num_buckets_; }
  int64_t shard_size() const { return arena_size_ / num_owners_; }

  struct Range {
    int64_t begin = 0;  // arena elements
    int64_t count = 0;
  };
  Range Bucket(int bucket) const;
  // The part of a bucket that `owner` holds, and where that lies in its shard.
  Range Slice(int bucket, int owner) const;
  int64_t ShardOffset(int bucket) const;

 private:
  int64_t arena_size_;
  int num_owners_;
  int64_t bucket_size_;
  int num_buckets_;
};

// A map for each arena of trained parameters: frozen ones have no owners.
using ShardMaps = std::array<ShardMap, kNumTrainedArenaKinds>;
ShardMaps MakeShardMaps(const ParameterTable& table, const Mesh& mesh,
                        int64_t bucket_elements);

// A run of arena elements that one rank owns and one rule of decay covers.
struct ShardSegment {
  int64_t arena_begin = 0;
  int64_t shard_begin = 0;
  int64_t count = 0;
  bool decay = false;
};

// All of `owner`'s elements of the arena, padding left out, in arena order.
std::vector<ShardSegment> SegmentsOfOwner(const ParameterTable& table,
                                          ArenaKind kind, const ShardMap& map,
                                          int owner);

}  // namespace moe

#endif  // TRAINER_STEP_SHARD_MAP_H_
