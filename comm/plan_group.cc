#include "comm/plan_group.h"

#include <numeric>

#include "comm/base/check.h"
#include "comm/finished_work.h"

namespace moe {
namespace {

int64_t Sum(absl::Span<const int64_t> counts) {
  return std::accumulate(counts.begin(), counts.end(), int64_t{0});
}

}  // namespace

std::unique_ptr<Work> PlanGroup::Sent(int64_t num_bytes) {
  ++traffic_.calls;
  traffic_.sent_bytes += num_bytes;
  return std::make_unique<FinishedWork>();
}

absl::StatusOr<std::unique_ptr<Work>> PlanGroup::StartAllReduce(MemoryView data,
                                                                ReduceOp) {
  return Sent(AllReduceBytes(place_, data.count, data.dtype));
}

absl::StatusOr<std::unique_ptr<Work>> PlanGroup::StartReduceScatter(
    ConstMemoryView input, MemoryView output) {
  CHECK(input.count == size() * output.count && input.dtype == output.dtype);
  return Sent(ReduceScatterBytes(place_, output.count, output.dtype));
}

absl::StatusOr<std::unique_ptr<Work>> PlanGroup::StartAllGather(
    ConstMemoryView input, MemoryView output) {
  CHECK(output.count == size() * input.count && input.dtype == output.dtype);
  return Sent(AllGatherBytes(place_, input.count, input.dtype));
}

absl::StatusOr<std::unique_ptr<Work>> PlanGroup::StartBroadcast(MemoryView data,
                                                                int root) {
  CHECK(root >= 0 && root < size());
  return Sent(BroadcastBytes(place_, root, data.count, data.dtype));
}

absl::StatusOr<std::unique_ptr<Work>> PlanGroup::StartAllToAllV(
    ConstMemoryView send, absl::Span<const int64_t> send_counts,
    MemoryView receive, absl::Span<const int64_t> receive_counts) {
  CHECK(receive_counts.size() == static_cast<size_t>(size()));
  CHECK(send.dtype == receive.dtype);
  CHECK(Sum(send_counts) <= send.count && Sum(receive_counts) <= receive.count);
  return Sent(AllToAllVBytes(place_, send_counts, send.dtype));
}

absl::StatusOr<std::unique_ptr<Work>> PlanGroup::StartBarrier() {
  return Sent(0);
}

}  // namespace moe
