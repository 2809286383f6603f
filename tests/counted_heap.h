#ifndef TESTS_COUNTED_HEAP_H_
#define TESTS_COUNTED_HEAP_H_

#include <cstdint>

namespace moe {

// Bytes that C++ code of this process holds by operator new: ours and that of
// C++ libraries. Not what C libraries keep for themselves: MPI's grows with the
// messages that happen to be under way, and glibc's own count with its caches.
// A test that calls this has its operators new and delete replaced.
int64_t LiveHeapBytes();

// The most of them at one time since the last ForgetPeakHeap.
int64_t PeakHeapBytes();
void ForgetPeakHeap();

}  // namespace moe

#endif  // TESTS_COUNTED_HEAP_H_
