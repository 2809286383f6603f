#ifndef TESTS_GUARDED_CONTEXT_H_
#define TESTS_GUARDED_CONTEXT_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "comm/base/buffer.h"
#include "comm/device_context.h"

namespace moe {

// A device that is none: memory of the host which host code cannot touch, as it
// cannot touch a GPU's. It is open (GuardedMemoryOpen) while a kernel runs or a
// copy is made; whoever else reads or writes it ends the process with a signal,
// and a line says why. What is copied to the host arrives as late as it may:
// until Synchronize or HostCopy::Wait its place holds kGuardedPoison. So does
// new memory.
//
// Memory lies in one region of reserved addresses, so that a call of mprotect
// opens or closes all of it. One for each process, which is never destroyed:
// buffers may outlive whoever made them.
class GuardedContext final : public DeviceContext {
 public:
  static GuardedContext& Get();

  Device device() const override { return {}; }
  absl::StatusOr<Buffer> AllocateUninitialised(int64_t num_bytes) override;
  absl::StatusOr<Buffer> Allocate(int64_t num_bytes) override;
  void Upload(void* to, const void* from, int64_t num_bytes) override;
  void Download(void* to, const void* from, int64_t num_bytes) override;
  absl::StatusOr<HostCopy> StartCopy(ConstMemoryView from) override;
  absl::Status Synchronize() override;

  // How often the host has waited: for all, or for a copy.
  int64_t num_waits() const { return num_waits_; }

 private:
  friend class GuardedMemoryOpen;
  friend class GuardedMemoryClosed;

  GuardedContext();
  // The first place with room, in bytes from the region's begin.
  int64_t Take(int64_t num_bytes);
  void GiveBack(int64_t begin, int64_t num_bytes);
  // Of all memory that was ever taken.
  void Protect(bool is_open) const;

  char* region_ = nullptr;
  int64_t used_ = 0;                 // bytes that were ever taken
  std::map<int64_t, int64_t> free_;  // bytes of each gap, by its begin
  int open_ = 0;                     // scopes that want it open
  int64_t num_waits_ = 0;
  // Downloads on their way: to where, and what.
  std::vector<std::pair<void*, std::vector<char>>> downloads_;
  // What StartCopy's callers see: the last two of each size.
  using Bytes = std::shared_ptr<std::vector<char>>;
  std::map<size_t, std::pair<Bytes, Bytes>> copies_;
};

inline constexpr int kGuardedPoison = 0xA5;

// While it lives the memory can be touched.
class GuardedMemoryOpen {
 public:
  explicit GuardedMemoryOpen(GuardedContext& context);
  ~GuardedMemoryOpen();
  GuardedMemoryOpen(const GuardedMemoryOpen&) = delete;
  GuardedMemoryOpen& operator=(const GuardedMemoryOpen&) = delete;

 private:
  GuardedContext& context_;
};

// While it lives the memory cannot be touched, whatever opened it: for host
// code that a kernel calls.
class GuardedMemoryClosed {
 public:
  explicit GuardedMemoryClosed(GuardedContext& context);
  ~GuardedMemoryClosed();
  GuardedMemoryClosed(const GuardedMemoryClosed&) = delete;
  GuardedMemoryClosed& operator=(const GuardedMemoryClosed&) = delete;

 private:
  GuardedContext& context_;
  const int open_;
};

}  // namespace moe

#endif  // TESTS_GUARDED_CONTEXT_H_
