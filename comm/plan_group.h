#ifndef COMM_PLAN_GROUP_H_
#define COMM_PLAN_GROUP_H_

#include <memory>
#include <string>
#include <utility>

#include "comm/process_group.h"
#include "comm/traffic.h"

namespace moe {

// A group of a plan: this rank's place among ranks that do not exist. A
// collective is over at once, touches no memory, and counts the calls and the
// bytes that MpiGroup would count (traffic.h). A group of any size costs
// nothing.
class PlanGroup : public ProcessGroup {
 public:
  PlanGroup(std::string name, GroupPlace place)
      : name_(std::move(name)), place_(place) {}

  int rank() const override { return place_.rank; }
  int size() const override { return place_.size; }
  const std::string& name() const override { return name_; }

  absl::StatusOr<std::unique_ptr<Work>> StartAllReduce(MemoryView data,
                                                       ReduceOp op) override;
  absl::StatusOr<std::unique_ptr<Work>> StartReduceScatter(
      ConstMemoryView input, MemoryView output) override;
  absl::StatusOr<std::unique_ptr<Work>> StartAllGather(
      ConstMemoryView input, MemoryView output) override;
  absl::StatusOr<std::unique_ptr<Work>> StartBroadcast(MemoryView data,
                                                       int root) override;
  absl::StatusOr<std::unique_ptr<Work>> StartAllToAllV(
      ConstMemoryView send, absl::Span<const int64_t> send_counts,
      MemoryView receive, absl::Span<const int64_t> receive_counts) override;
  absl::StatusOr<std::unique_ptr<Work>> StartBarrier() override;

  TrafficCounters traffic() const override { return traffic_; }

 private:
  std::unique_ptr<Work> Sent(int64_t num_bytes);

  std::string name_;
  GroupPlace place_;
  TrafficCounters traffic_;
};

}  // namespace moe

#endif  // COMM_PLAN_GROUP_H_
