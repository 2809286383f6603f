#ifndef MOE_LAYERS_ARENA_H_
#define MOE_LAYERS_ARENA_H_

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <vector>

#include "absl/status/statusor.h"
#include "comm/base/buffer.h"
#include "comm/device_context.h"
#include "moe/tensor.h"

namespace moe {

// Where the tensors of a stack lie: all of an Arena but its memory. A stack
// grows by chunks; once it is empty again, one chunk for the most that was in
// use takes their place, so that no room is lost between what does not fit and
// the next chunk.
class ArenaLayout {
 public:
  struct Mark {
    size_t chunk = 0;
    int64_t offset = 0;
    int64_t used = 0;  // by all tensors below, bytes
  };

  // Of the further chunk that `bytes` more need; 0: they need none.
  int64_t NewChunkBytes(int64_t bytes) const;
  // The place of `bytes` more, in a further chunk if they need one.
  Mark Push(int64_t bytes);

  Mark mark() const { return top_; }
  // Gives back all that was pushed since `mark`; chunks only if that empties
  // several.
  void Release(Mark mark);

  size_t num_chunks() const { return chunk_bytes_.size(); }
  // Bytes of all chunks, and the most that were in use at once.
  int64_t capacity_bytes() const;
  int64_t peak_bytes() const { return peak_bytes_; }

 private:
  Mark Find(int64_t bytes) const;

  std::vector<int64_t> chunk_bytes_;
  Mark top_;
  int64_t peak_bytes_ = 0;
};

// A stack of tensors: going back to a mark frees all that came after it. Memory
// is kept, but several chunks make way for one once they are empty: from the
// third step on those of equal shape take none.
class Arena {
 public:
  using Mark = ArenaLayout::Mark;

  explicit Arena(DeviceContext& context = CpuContext()) : context_(context) {}

  // An uninitialised tensor, 64-byte aligned, valid until a mark from before
  // it is released. ResourceExhausted when the device has no memory left.
  absl::StatusOr<Tensor> Allocate(std::initializer_list<int64_t> shape,
                                  DType dtype);

  DeviceContext& context() const { return context_; }

  Mark mark() const { return layout_.mark(); }
  // Gives back all that was allocated since `mark`.
  void Release(Mark mark);

  // Bytes held, in so many chunks.
  int64_t capacity_bytes() const { return layout_.capacity_bytes(); }
  int64_t num_chunks() const { return static_cast<int64_t>(chunks_.size()); }
  // The most that was in use at once.
  int64_t peak_bytes() const { return layout_.peak_bytes(); }

 private:
  DeviceContext& context_;
  ArenaLayout layout_;
  std::vector<Buffer> chunks_;
};

// Releases on leaving the scope all that was allocated in it, of an Arena or an
// ArenaLayout.
template <typename Stack>
class ArenaScope {
 public:
  explicit ArenaScope(Stack& stack) : stack_(stack), mark_(stack.mark()) {}
  ~ArenaScope() { stack_.Release(mark_); }
  ArenaScope(const ArenaScope&) = delete;
  ArenaScope& operator=(const ArenaScope&) = delete;

 private:
  Stack& stack_;
  ArenaLayout::Mark mark_;
};

}  // namespace moe

#endif  // MOE_LAYERS_ARENA_H_
