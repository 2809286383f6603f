#include "trainer/step/gradient_reducer.h"

#include <algorithm>
#include <utility>

#include "comm/base/status_macros.h"

namespace moe {

GradientReducer::GradientReducer(const ParameterTable& table,
                                 const ProcessGroups& groups,
                                 const ShardMaps& shards,
                                 const ParameterStorage& gradients)
    : table_(table), shards_(shards), gradients_(gradients) {
  for (ArenaKind kind : kTrainedArenaKinds)
    arenas_[Index(kind)].group = &groups.device(ReductionAxis(kind));
  Reset();
}

void GradientReducer::Reset() {
  finished_bytes_ = 0;
  for (ArenaKind kind : kTrainedArenaKinds) {
    arenas_[Index(kind)].ready_from = table_.ArenaSize(kind);
    arenas_[Index(kind)].next_bucket = shards_[Index(kind)].num_buckets() - 1;
  }
}

absl::Status GradientReducer::GradientsReady(ParameterRange range) {
  // The last call comes after the last product, and nothing has looked since.
  early_bytes_ = finished_bytes_;
  for (const std::unique_ptr<Work>& work : works_)
    early_bytes_ += work->arrived_bytes();
  for (int i = range.begin; i < range.end; ++i) {
    const Parameter& parameter = table_.parameters()[static_cast<size_t>(i)];
    if (!parameter.local || !parameter.trained) continue;
    int64_t& ready_from = arenas_[Index(parameter.arena)].ready_from;
    ready_from = std::min(ready_from, parameter.offset);
  }
  for (ArenaKind kind : kTrainedArenaKinds)
    RETURN_IF_ERROR(StartReadyBuckets(kind));
  return absl::OkStatus();
}

absl::Status GradientReducer::StartReadyBuckets(ArenaKind kind) {
  ArenaState& arena = arenas_[Index(kind)];
  const ShardMap& map = shards_[Index(kind)];
  while (arena.next_bucket >= 0 &&
         map.Bucket(arena.next_bucket).begin >= arena.ready_from) {
    const int bucket = arena.next_bucket--;
    if (arena.group->size() == 1) continue;
    if (works_.size() == kMaxOpenBuckets) RETURN_IF_ERROR(WaitForOldest());
    RETURN_IF_ERROR(StartBucket(kind, bucket));
  }
  return absl::OkStatus();
}

absl::Status GradientReducer::StartBucket(ArenaKind kind, int bucket) {
  ProcessGroup& group = *arenas_[Index(kind)].group;
  const ShardMap& map = shards_[Index(kind)];
  const ShardMap::Range all = map.Bucket(bucket);
  const ShardMap::Range mine = map.Slice(bucket, group.rank());
  const MemoryView memory = gradients_.arena(kind).View();
  absl::StatusOr<std::unique_ptr<Work>> work = group.StartReduceScatter(
      memory.Slice(all.begin, all.count), memory.Slice(mine.begin, mine.count));
  if (!work.ok()) return Annotate(work.status(), "sum of gradients");
  works_.push_back(*std::move(work));
  return absl::OkStatus();
}

absl::Status GradientReducer::WaitForOldest() {
  RETURN_IF_ERROR(Annotate(works_.front()->Wait(), "sum of gradients"));
  finished_bytes_ += works_.front()->arrived_bytes();
  works_.pop_front();
  return absl::OkStatus();
}

void GradientReducer::Progress() {
  for (std::unique_ptr<Work>& work : works_) work->Test();
}

absl::Status GradientReducer::Finish() {
  for (ArenaKind kind : kTrainedArenaKinds) {
    arenas_[Index(kind)].ready_from = 0;
    RETURN_IF_ERROR(StartReadyBuckets(kind));
  }
  while (!works_.empty()) RETURN_IF_ERROR(WaitForOldest());
  Reset();
  return absl::OkStatus();
}

}  // namespace moe
