#include "comm/base/buffer.h"

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "comm/base/check.h"

namespace moe {
namespace {

// A cache line, and the widest vector register.
constexpr int64_t kAlignment = 64;

// The process's tally. Atomic because the checkpoint's writer thread makes
// Buffers too.
struct Tally {
  std::atomic<int64_t> num_allocated = 0;
  std::atomic<int64_t> live_bytes = 0;
};

Tally& GetTally() {
  static Tally tally;
  return tally;
}

absl::Status Refused(int64_t num_bytes) {
  return absl::ResourceExhaustedError(
      absl::StrCat("a buffer of ", num_bytes, " bytes was refused; ",
                   Buffer::live_bytes(), " bytes are allocated already"));
}

}  // namespace

absl::StatusOr<Buffer> Buffer::Allocate(int64_t num_bytes) {
  absl::StatusOr<Buffer> buffer = AllocateUninitialised(num_bytes);
  if (buffer.ok() && num_bytes > 0)
    std::memset(buffer->data_, 0, static_cast<size_t>(num_bytes));
  return buffer;
}

absl::StatusOr<Buffer> Buffer::AllocateUninitialised(int64_t num_bytes) {
  CHECK(num_bytes >= 0);
  Buffer buffer;
  if (num_bytes == 0) return buffer;
  if (num_bytes > std::numeric_limits<int64_t>::max() - kAlignment)
    return Refused(num_bytes);
  const int64_t whole_lines =
      (num_bytes + kAlignment - 1) / kAlignment * kAlignment;
  buffer.data_ =
      std::aligned_alloc(kAlignment, static_cast<size_t>(whole_lines));
  if (buffer.data_ == nullptr) return Refused(num_bytes);
  buffer.num_bytes_ = num_bytes;
  GetTally().num_allocated += 1;
  GetTally().live_bytes += num_bytes;
  return buffer;
}

Buffer Buffer::Adopt(void* data, int64_t num_bytes, Device device,
                     std::function<void()> free) {
  Buffer buffer;
  buffer.data_ = data;
  buffer.num_bytes_ = num_bytes;
  buffer.device_ = device;
  buffer.free_ = std::move(free);
  GetTally().num_allocated += 1;
  GetTally().live_bytes += num_bytes;
  return buffer;
}

Buffer::~Buffer() { Free(); }

Buffer::Buffer(Buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      num_bytes_(std::exchange(other.num_bytes_, 0)),
      device_(other.device_),
      free_(std::exchange(other.free_, nullptr)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  if (this == &other) return *this;
  Free();
  data_ = std::exchange(other.data_, nullptr);
  num_bytes_ = std::exchange(other.num_bytes_, 0);
  device_ = other.device_;
  free_ = std::exchange(other.free_, nullptr);
  return *this;
}

int64_t Buffer::num_allocated() { return GetTally().num_allocated; }
int64_t Buffer::live_bytes() { return GetTally().live_bytes; }

void Buffer::Free() {
  if (free_) {
    free_();
  } else {
    std::free(data_);
  }
  GetTally().live_bytes -= num_bytes_;
}

}  // namespace moe
