#include "comm/device_context.h"

#include <cstring>

namespace moe {
namespace {

class HostMemoryContext final : public DeviceContext {
 public:
  Device device() const override { return {}; }

  absl::StatusOr<Buffer> AllocateUninitialised(int64_t num_bytes) override {
    return Buffer::AllocateUninitialised(num_bytes);
  }
  absl::StatusOr<Buffer> Allocate(int64_t num_bytes) override {
    return Buffer::Allocate(num_bytes);
  }

  void Upload(void* to, const void* from, int64_t num_bytes) override {
    Copy(to, from, num_bytes);
  }
  void Download(void* to, const void* from, int64_t num_bytes) override {
    Copy(to, from, num_bytes);
  }
  absl::StatusOr<HostCopy> StartCopy(ConstMemoryView from) override {
    return HostCopy(from, nullptr);
  }

  absl::Status Synchronize() override { return absl::OkStatus(); }

 private:
  static void Copy(void* to, const void* from, int64_t num_bytes) {
    if (num_bytes > 0) std::memmove(to, from, static_cast<size_t>(num_bytes));
  }
};

}  // namespace

// It has no state, so that one serves the whole process.
DeviceContext& CpuContext() {
  static HostMemoryContext context;
  return context;
}

}  // namespace moe
