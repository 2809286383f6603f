#ifndef COMM_DEVICE_CONTEXT_H_
#define COMM_DEVICE_CONTEXT_H_

#include <cstdint>
#include <functional>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "comm/base/buffer.h"
#include "comm/base/check.h"
#include "comm/base/device.h"
#include "comm/base/dtype.h"
#include "comm/process_group.h"

namespace moe {

// A few numbers of a device on their way to the host. Valid until the device's
// memory that they were copied from is written to again.
class HostCopy {
 public:
  HostCopy() = default;
  // `host` holds the numbers once `wait` has returned OK.
  HostCopy(ConstMemoryView host, std::function<absl::Status()> wait)
      : host_(host), wait_(std::move(wait)) {}

  // Until they are there. Calls after the first do nothing.
  absl::Status Wait() {
    return wait_ ? std::exchange(wait_, nullptr)() : absl::OkStatus();
  }

  // After Wait.
  template <typename T>
  absl::Span<const T> values() const {
    CHECK(!wait_ && host_.dtype == DTypeOf<T>());
    return {static_cast<const T*>(host_.data),
            static_cast<size_t>(host_.count)};
  }

 private:
  ConstMemoryView host_;
  std::function<absl::Status()> wait_;
};

// The device of this rank: its memory, the order of its work, and every copy
// between it and the host. Kernels and copies run in the order in which they
// were asked for, and may run later; nothing but kernels of the device, its
// collectives and these copies touches its memory. One thread calls.
class DeviceContext {
 public:
  virtual ~DeviceContext() = default;

  virtual Device device() const = 0;

  // 64-byte aligned. ResourceExhausted names the size when the device refuses.
  virtual absl::StatusOr<Buffer> AllocateUninitialised(int64_t num_bytes) = 0;
  // The same, of zeros.
  virtual absl::StatusOr<Buffer> Allocate(int64_t num_bytes) = 0;

  // From the host to the device. `from` may change once this has returned.
  virtual void Upload(void* to, const void* from, int64_t num_bytes) = 0;
  // From the device to the host: there after Synchronize.
  virtual void Download(void* to, const void* from, int64_t num_bytes) = 0;
  // The same for a few numbers, without waiting for what is asked for later.
  virtual absl::StatusOr<HostCopy> StartCopy(ConstMemoryView from) = 0;

  // Until all that was asked for is done; the first error of any of it.
  virtual absl::Status Synchronize() = 0;
};

// The processor: its memory is the host's, and all is done at once.
DeviceContext& CpuContext();

}  // namespace moe

#endif  // COMM_DEVICE_CONTEXT_H_
