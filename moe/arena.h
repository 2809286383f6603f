#ifndef MOE_ARENA_H_
#define MOE_ARENA_H_

#include <cstdint>
#include <initializer_list>
#include <vector>

#include "absl/status/statusor.h"
#include "comm/buffer.h"
#include "moe/tensor.h"

namespace moe {

// A stack of tensors: going back to a mark frees all that came after it. Memory
// once taken is kept, so that steps of equal shape take no more of it.
class Arena {
 public:
  explicit Arena(Device device = {}) : device_(device) {}

  // An uninitialised tensor, 64-byte aligned, valid until a mark from before
  // it is released. ResourceExhausted when the device has no memory left.
  absl::StatusOr<Tensor> Allocate(std::initializer_list<int64_t> shape,
                                  DType dtype);

  struct Mark {
    size_t chunk = 0;
    int64_t offset = 0;
  };
  Mark mark() const { return top_; }
  // Gives back all that was allocated since `mark`.
  void Release(Mark mark) { top_ = mark; }

  // Bytes held, and how often more had to be taken from the device.
  int64_t capacity_bytes() const;
  int64_t num_growths() const { return static_cast<int64_t>(chunks_.size()); }
  // The most that was in use at once.
  int64_t peak_bytes() const { return peak_bytes_; }

 private:
  Device device_;
  std::vector<Buffer> chunks_;
  Mark top_;
  int64_t peak_bytes_ = 0;
};

// Releases on leaving the scope all that was allocated in it.
class ArenaScope {
 public:
  explicit ArenaScope(Arena& arena) : arena_(arena), mark_(arena.mark()) {}
  ~ArenaScope() { arena_.Release(mark_); }
  ArenaScope(const ArenaScope&) = delete;
  ArenaScope& operator=(const ArenaScope&) = delete;

 private:
  Arena& arena_;
  Arena::Mark mark_;
};

}  // namespace moe

#endif  // MOE_ARENA_H_
