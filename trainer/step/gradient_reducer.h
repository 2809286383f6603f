#ifndef TRAINER_STEP_GRADIENT_REDUCER_H_
#define TRAINER_STEP_GRADIENT_REDUCER_H_

#include <array>
#include <cstdint>
#include <deque>
#include <memory>

#include "absl/status/status.h"
#include "comm/process_groups.h"
#include "moe/parameters/gradient_listener.h"
#include "moe/parameters/weights.h"
#include "trainer/step/shard_map.h"

namespace moe {

// Sums gradients over the ranks that share a parameter, while backward runs.
//
//   1. Backward of a step's last micro-batch tells, from the last layer to the
//      first, which gradients are complete (GradientsReady).
//   2. A bucket whose elements are all complete is reduce-scattered in place:
//      this rank's slice becomes the sum over the group.
//   3. Progress, called between the tiles of products, moves the messages.
//   4. Finish starts what is left and waits for all.
//
// All ranks start their buckets in the same order, because the order comes from
// the parameter table alone. So no rank waits in a circle when, with
// kMaxOpenBuckets under way, the oldest is waited for before the next starts:
// contributions that wait to be added in order take memory.
class GradientReducer : public GradientListener {
 public:
  static constexpr int kMaxOpenBuckets = 16;

  GradientReducer(const ParameterTable& table, const ProcessGroups& groups,
                  const ShardMaps& shards, const ParameterStorage& gradients);

  absl::Status GradientsReady(ParameterRange range) override;
  void Progress();
  absl::Status Finish();

  // Bytes of other ranks' gradients that Progress saw arrive in the last step
  // before its last backward product had ended.
  int64_t bytes_arrived_during_backward() const { return early_bytes_; }

 private:
  struct ArenaState {
    ProcessGroup* group = nullptr;
    int64_t ready_from = 0;  // elements from here on are complete
    int next_bucket = 0;     // buckets above this have been started
  };

  // As before a step: no gradient is complete, no bucket has been started.
  void Reset();
  absl::Status StartReadyBuckets(ArenaKind kind);
  absl::Status StartBucket(ArenaKind kind, int bucket);
  absl::Status WaitForOldest();

  const ParameterTable& table_;
  const ShardMaps& shards_;
  const ParameterStorage& gradients_;
  std::array<ArenaState, kNumTrainedArenaKinds> arenas_;
  std::deque<std::unique_ptr<Work>> works_;  // under way, the oldest first
  int64_t finished_bytes_ = 0;               // that arrived for earlier ones
  int64_t early_bytes_ = 0;
};

}  // namespace moe

#endif  // TRAINER_STEP_GRADIENT_REDUCER_H_
