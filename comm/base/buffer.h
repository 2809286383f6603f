#ifndef COMM_BASE_BUFFER_H_
#define COMM_BASE_BUFFER_H_

#include <cstdint>
#include <functional>

#include "absl/status/statusor.h"
#include "comm/base/device.h"

namespace moe {

// Owns bytes on a device: the only allocation of anything that grows with the
// model or the batch. 64-byte aligned. Move-only.
class Buffer {
 public:
  Buffer() = default;
  // On the host, zero-filled. ResourceExhausted names the size when it refuses.
  // A device's memory is its DeviceContext's to allocate.
  static absl::StatusOr<Buffer> Allocate(int64_t num_bytes);
  // Holding anything: what is never written to takes no memory of the host.
  static absl::StatusOr<Buffer> AllocateUninitialised(int64_t num_bytes);
  // Memory that someone else allocated, and gives back with `free`. It counts
  // in the tallies below.
  static Buffer Adopt(void* data, int64_t num_bytes, Device device,
                      std::function<void()> free);

  ~Buffer();
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  void* data() const { return data_; }
  int64_t num_bytes() const { return num_bytes_; }
  Device device() const { return device_; }

  // How many Buffers this process has ever allocated, and the bytes that live
  // now: tests hold a step to making none.
  static int64_t num_allocated();
  static int64_t live_bytes();

 private:
  void Free();

  void* data_ = nullptr;
  int64_t num_bytes_ = 0;
  Device device_;
  std::function<void()> free_;  // null: std::free
};

}  // namespace moe

#endif  // COMM_BASE_BUFFER_H_
