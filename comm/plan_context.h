#ifndef COMM_PLAN_CONTEXT_H_
#define COMM_PLAN_CONTEXT_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "comm/device_context.h"

namespace moe {

// The device of a plan, which runs the code of a step without computing it. Its
// memory is addresses alone: no processor maps them, so nothing is reserved,
// no limit of memory applies, and whoever reads one ends with SIGSEGV. Copies
// from it show zeros, or what Show says, and it never runs out. Outlives the
// Buffers that it gave.
class PlanContext final : public DeviceContext {
 public:
  PlanContext() = default;
  PlanContext(const PlanContext&) = delete;
  PlanContext& operator=(const PlanContext&) = delete;

  Device device() const override { return {}; }

  absl::StatusOr<Buffer> AllocateUninitialised(int64_t num_bytes) override;
  absl::StatusOr<Buffer> Allocate(int64_t num_bytes) override {
    return AllocateUninitialised(num_bytes);
  }

  void Upload(void*, const void*, int64_t) override {}
  void Download(void* to, const void* from, int64_t num_bytes) override;
  // Valid as long as the context; what was shown, until it is shown anew.
  absl::StatusOr<HostCopy> StartCopy(ConstMemoryView from) override;

  absl::Status Synchronize() override { return absl::OkStatus(); }

  // The next copy from `address` shows these numbers, which a kernel would have
  // written there.
  void Show(const void* address, std::vector<int64_t> values);

  // Bytes of the Buffers that live now.
  int64_t live_bytes() const { return live_bytes_; }

 private:
  int64_t next_address_ = 0;  // beyond the first
  int64_t live_bytes_ = 0;
  const void* shown_at_ = nullptr;
  std::vector<int64_t> shown_;
  // What other copies show, each longer than the ones before: those stay, since
  // copies of them may be looked at still.
  std::vector<std::vector<int64_t>> zeros_;
};

}  // namespace moe

#endif  // COMM_PLAN_CONTEXT_H_
