#include "trainer/step/shard_map.h"

#include <gtest/gtest.h>

#include <vector>

namespace moe {
namespace {

TEST(ShardMap, SlicesCoverTheArenaOnce) {
  for (int owners : {1, 2, 3, 16}) {
    for (int64_t bucket_elements : {1, 100, 1000, 1000000}) {
      const int64_t size = ParameterTable::kAlignment * owners * 37;
      const ShardMap map(size, owners, bucket_elements);
      std::vector<int> times(static_cast<size_t>(size));
      for (int owner = 0; owner < owners; ++owner) {
        int64_t shard = 0;
        for (int bucket = 0; bucket < map.num_buckets(); ++bucket) {
          const ShardMap::Range slice = map.Slice(bucket, owner);
          EXPECT_EQ(slice.begin % ParameterTable::kAlignment, 0);
          EXPECT_EQ(map.ShardOffset(bucket), shard);
          shard += slice.count;
          for (int64_t i = 0; i < slice.count; ++i)
            ++times[static_cast<size_t>(slice.begin + i)];
        }
        EXPECT_EQ(shard, map.shard_size());
      }
      EXPECT_EQ(times, std::vector<int>(times.size(), 1));
    }
  }
}

ModelConfig Model() {
  ModelConfig model;
  model.set_vocab_size(11);
  model.set_hidden_size(6);
  model.set_intermediate_size(5);
  model.set_num_hidden_layers(3);
  model.set_num_attention_heads(2);
  model.set_num_key_value_heads(1);
  model.set_head_dim(4);
  model.set_num_local_experts(6);
  return model;
}

// Every element of every local parameter has one owner in its reduction group,
// and the decay of its parameter.
TEST(ShardMap, SegmentsOfAllOwnersAreTheParameters) {
  for (int world : {1, 2, 3, 6}) {
    const Mesh mesh = *Mesh::Create(world, 1, 0, 6);
    const ParameterTable table(Model(), DType::kFloat32, mesh, /*rank=*/0);
    for (ArenaKind kind : kAllArenaKinds) {
      const ShardMap map(table.ArenaSize(kind), mesh.Size(ReductionAxis(kind)),
                         /*bucket_elements=*/50);
      std::vector<int> seen(static_cast<size_t>(table.ArenaSize(kind)), -1);
      for (int owner = 0; owner < map.num_owners(); ++owner) {
        for (const ShardSegment& s : SegmentsOfOwner(table, kind, map, owner)) {
          for (int64_t i = 0; i < s.count; ++i) {
            int& element = seen[static_cast<size_t>(s.arena_begin + i)];
            EXPECT_EQ(element, -1) << "owned twice";
            element = s.decay ? 1 : 0;
          }
        }
      }
      int64_t used = 0;
      for (const Parameter& p : table.parameters()) {
        if (!p.local || p.arena != kind) continue;
        used += p.size;
        for (int64_t i = p.offset; i < p.offset + p.size; ++i) {
          EXPECT_EQ(seen[static_cast<size_t>(i)], p.decay ? 1 : 0)
              << p.name << " element " << i - p.offset;
        }
      }
      for (size_t i = static_cast<size_t>(used); i < seen.size(); ++i)
        EXPECT_EQ(seen[i], -1) << "padding is owned";
    }
  }
}

}  // namespace
}  // namespace moe
