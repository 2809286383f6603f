#include "tests/counted_heap.h"

#include <malloc.h>

#include <atomic>
#include <cstdlib>
#include <new>

static std::atomic<int64_t> live_heap_bytes = 0;
static std::atomic<int64_t> peak_heap_bytes = 0;

// AddressSanitizer pairs its own operators, and its heap is not counted.
#if !defined(__SANITIZE_ADDRESS__)
static void* CountedAllocate(size_t bytes, size_t alignment) {
  void* data = std::aligned_alloc(
      alignment, (bytes + alignment - 1) / alignment * alignment);
  if (data == nullptr) std::abort();
  const int64_t size = static_cast<int64_t>(malloc_usable_size(data));
  const int64_t live = live_heap_bytes += size;
  int64_t peak = peak_heap_bytes;
  while (live > peak && !peak_heap_bytes.compare_exchange_weak(peak, live)) {
  }
  return data;
}

static void CountedFree(void* data) {
  if (data == nullptr) return;
  live_heap_bytes -= static_cast<int64_t>(malloc_usable_size(data));
  std::free(data);
}

void* operator new(size_t bytes) { return CountedAllocate(bytes, 16); }
void* operator new(size_t bytes, std::align_val_t alignment) {
  return CountedAllocate(bytes, static_cast<size_t>(alignment));
}
void operator delete(void* data) noexcept { CountedFree(data); }
void operator delete(void* data, size_t) noexcept { CountedFree(data); }
void operator delete(void* data, std::align_val_t) noexcept {
  CountedFree(data);
}
void operator delete(void* data, size_t, std::align_val_t) noexcept {
  CountedFree(data);
}
#endif

namespace moe {

int64_t LiveHeapBytes() { return live_heap_bytes; }

int64_t PeakHeapBytes() { return peak_heap_bytes; }

void ForgetPeakHeap() { peak_heap_bytes = live_heap_bytes.load(); }

}  // namespace moe
