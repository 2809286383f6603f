#include "comm/single_group.h"

#include <cstring>
#include <utility>

#include "comm/base/check.h"
#include "comm/finished_work.h"

namespace moe {
namespace {

// All that a group of one does is done by the time Start... returns.
class SingleGroup : public ProcessGroup {
 public:
  explicit SingleGroup(std::string name) : name_(std::move(name)) {}

  int rank() const override { return 0; }
  int size() const override { return 1; }
  const std::string& name() const override { return name_; }

  absl::StatusOr<std::unique_ptr<Work>> StartAllReduce(MemoryView,
                                                       ReduceOp) override {
    return Finish();
  }

  absl::StatusOr<std::unique_ptr<Work>> StartReduceScatter(
      ConstMemoryView input, MemoryView output) override {
    return Copy(input, output);
  }

  absl::StatusOr<std::unique_ptr<Work>> StartAllGather(
      ConstMemoryView input, MemoryView output) override {
    return Copy(input, output);
  }

  absl::StatusOr<std::unique_ptr<Work>> StartBroadcast(MemoryView,
                                                       int root) override {
    CHECK(root == 0);
    return Finish();
  }

  absl::StatusOr<std::unique_ptr<Work>> StartAllToAllV(
      ConstMemoryView send, absl::Span<const int64_t> send_counts,
      MemoryView receive, absl::Span<const int64_t> receive_counts) override {
    CHECK(send_counts.size() == 1 && receive_counts.size() == 1);
    CHECK(send_counts[0] == receive_counts[0]);
    CHECK(send_counts[0] <= send.count && send_counts[0] <= receive.count);
    return Copy(send.Slice(0, send_counts[0]),
                receive.Slice(0, receive_counts[0]));
  }

  absl::StatusOr<std::unique_ptr<Work>> StartBarrier() override {
    return Finish();
  }

  TrafficCounters traffic() const override { return traffic_; }

 private:
  std::unique_ptr<Work> Finish() {
    ++traffic_.calls;
    return std::make_unique<FinishedWork>();
  }

  std::unique_ptr<Work> Copy(ConstMemoryView from, MemoryView to) {
    CHECK(from.count == to.count && from.dtype == to.dtype);
    if (from.data != to.data && from.count > 0)
      std::memcpy(to.data, from.data,
                  static_cast<size_t>(from.count * SizeOf(from.dtype)));
    return Finish();
  }

  std::string name_;
  TrafficCounters traffic_;
};

}  // namespace

std::unique_ptr<ProcessGroup> MakeSingleGroup(std::string name) {
  return std::make_unique<SingleGroup>(std::move(name));
}

}  // namespace moe
