#include "tests/guarded_group.h"

#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "comm/base/status_macros.h"

namespace moe {
namespace {

// A collective of the host's, and where on the device its output belongs.
class GuardedWork final : public Work {
 public:
  GuardedWork(GuardedContext& context, ConstMemoryView input, MemoryView output)
      : context_(context), input_(Bytes(input)), output_(Bytes(output)) {
    const GuardedMemoryOpen open(context_);
    Copy(input_.data(), input.data, input_.size());
    Copy(output_.data(), output.data, output_.size());
    if (!output_.empty())
      std::memset(output.data, kGuardedPoison, output_.size());
    device_output_ = output;
  }

  // The same memory on the host.
  ConstMemoryView Input(ConstMemoryView of) const {
    return {input_.data(), of.count, of.dtype};
  }
  MemoryView Output() {
    return {output_.data(), device_output_.count, device_output_.dtype};
  }
  void Take(std::unique_ptr<Work> work) { work_ = std::move(work); }

  bool Test() override { return work_->Test(); }
  absl::Status Wait() override {
    RETURN_IF_ERROR(work_->Wait());
    const GuardedMemoryOpen open(context_);
    if (!std::exchange(is_done_, true))
      Copy(device_output_.data, output_.data(), output_.size());
    return absl::OkStatus();
  }
  int64_t arrived_bytes() const override { return work_->arrived_bytes(); }

 private:
  static size_t Bytes(ConstMemoryView view) {
    return static_cast<size_t>(view.count * SizeOf(view.dtype));
  }
  static void Copy(void* to, const void* from, size_t num_bytes) {
    if (num_bytes > 0) std::memcpy(to, from, num_bytes);
  }

  GuardedContext& context_;
  std::vector<char> input_;
  std::vector<char> output_;
  MemoryView device_output_;
  bool is_done_ = false;
  std::unique_ptr<Work> work_;  // ends before the memory that it works on
};

class GuardedGroup final : public ProcessGroup {
 public:
  GuardedGroup(ProcessGroup& host, GuardedContext& context)
      : host_(host), context_(context) {}

  int rank() const override { return host_.rank(); }
  int size() const override { return host_.size(); }
  const std::string& name() const override { return host_.name(); }
  TrafficCounters traffic() const override { return host_.traffic(); }

  absl::StatusOr<std::unique_ptr<Work>> StartAllReduce(MemoryView data,
                                                       ReduceOp op) override {
    return Start({}, data, [&](ConstMemoryView, MemoryView on_host) {
      return host_.StartAllReduce(on_host, op);
    });
  }
  absl::StatusOr<std::unique_ptr<Work>> StartReduceScatter(
      ConstMemoryView input, MemoryView output) override {
    return Start(input, output, [&](ConstMemoryView from, MemoryView to) {
      return host_.StartReduceScatter(from, to);
    });
  }
  absl::StatusOr<std::unique_ptr<Work>> StartAllGather(
      ConstMemoryView input, MemoryView output) override {
    return Start(input, output, [&](ConstMemoryView from, MemoryView to) {
      return host_.StartAllGather(from, to);
    });
  }
  absl::StatusOr<std::unique_ptr<Work>> StartBroadcast(MemoryView data,
                                                       int root) override {
    return Start({}, data, [&](ConstMemoryView, MemoryView on_host) {
      return host_.StartBroadcast(on_host, root);
    });
  }
  absl::StatusOr<std::unique_ptr<Work>> StartAllToAllV(
      ConstMemoryView send, absl::Span<const int64_t> send_counts,
      MemoryView receive, absl::Span<const int64_t> receive_counts) override {
    return Start(send, receive, [&](ConstMemoryView from, MemoryView to) {
      return host_.StartAllToAllV(from, send_counts, to, receive_counts);
    });
  }
  absl::StatusOr<std::unique_ptr<Work>> StartBarrier() override {
    return host_.StartBarrier();
  }

 private:
  template <typename StartOnHost>
  absl::StatusOr<std::unique_ptr<Work>> Start(
      ConstMemoryView input, MemoryView output,
      const StartOnHost& start_on_host) {
    auto work = std::make_unique<GuardedWork>(context_, input, output);
    ASSIGN_OR_RETURN(std::unique_ptr<Work> of_host,
                     start_on_host(work->Input(input), work->Output()));
    work->Take(std::move(of_host));
    return work;
  }

  ProcessGroup& host_;
  GuardedContext& context_;
};

}  // namespace

void GuardDeviceGroups(ProcessGroups& groups, GuardedContext& context) {
  for (Axis axis : kAllAxes) {
    groups.ReplaceDevice(axis,
                         std::make_unique<GuardedGroup>(groups[axis], context));
  }
}

}  // namespace moe
