#ifndef MOE_CPU_KERNEL_CONTEXT_H_
#define MOE_CPU_KERNEL_CONTEXT_H_

// What the CPU kernels keep between calls, and how they share a loop between
// threads. Every kernel is called from one thread.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "comm/buffer.h"
#include "comm/round_up.h"
#include "moe/kernels.h"

namespace moe {

class MatMulEngine;  // moe/cpu/matmul.h

// A piece of scratch memory for each thread, 64-byte aligned, holding whatever
// an earlier kernel left there.
class ThreadScratch {
 public:
  ThreadScratch() = default;
  ThreadScratch(std::byte* data, int64_t stride_bytes)
      : data_(data), stride_bytes_(stride_bytes) {}

  // The context could not get the memory and has noted so: the kernel returns.
  bool is_null() const { return data_ == nullptr; }

  template <typename T>
  T* Get(int thread) const {
    return reinterpret_cast<T*>(data_ + thread * stride_bytes_);
  }

 private:
  std::byte* data_ = nullptr;
  int64_t stride_bytes_ = 0;
};

class KernelContext {
 public:
  // Starts the threads; ResourceExhausted in `status` where they cannot be had.
  explicit KernelContext(int threads);
  ~KernelContext();
  KernelContext(const KernelContext&) = delete;
  KernelContext& operator=(const KernelContext&) = delete;

  int threads() const { return threads_; }

  const absl::Status& status() const { return status_; }
  // The first error wins. Outside of parallel regions only.
  void SetError(absl::Status error);

  void PushProgress(std::function<void()> progress) {
    progress_.push_back(std::move(progress));
  }
  void PopProgress() { progress_.pop_back(); }
  void Progress() const {
    for (const std::function<void()>& progress : progress_) progress();
  }

  // At least `bytes_per_thread` for each thread, valid until the next call.
  // Grows and is kept. Outside of parallel regions only.
  ThreadScratch ReserveThreadScratch(int64_t bytes_per_thread);

  // Null if the library or the threads could not start, which the status says.
  MatMulEngine* matmul() const { return matmul_.get(); }

 private:
  int threads_;
  absl::Status status_;
  std::vector<std::function<void()>> progress_;
  Buffer scratch_;
  std::unique_ptr<MatMulEngine> matmul_;
};

// A `grain` for rows that are but copied or added.
inline int64_t RowsForAThread(int64_t row_bytes) {
  return std::max<int64_t>(1, 32768 / std::max<int64_t>(1, row_bytes));
}

// Calls body(begin, end), or body(begin, end, thread) with thread in
// [0, context.threads()), for consecutive pieces of [0, n), one a thread. Where
// the cuts fall depends on n and the number of threads only. Fewer than `grain`
// elements a thread are not worth a thread: then fewer share the work. The
// others come along all the same: OpenMP ends threads that a loop has no use
// for, and starts them anew for the next one.
template <typename Body>
void ParallelFor(const KernelContext& context, int64_t n, int64_t grain,
                 const Body& body) {
  const auto call = [&body](int64_t begin, int64_t end, int thread) {
    if constexpr (std::is_invocable_v<Body, int64_t, int64_t, int>) {
      body(begin, end, thread);
    } else {
      body(begin, end);
    }
  };
  if (n <= 0) return;
  const int64_t useful = grain > 1 ? CeilDiv(n, grain) : n;
  const int pieces =
      useful < context.threads() ? static_cast<int>(useful) : context.threads();
  if (pieces <= 1) return call(0, n, 0);
#pragma omp parallel for schedule(static, 1) num_threads(context.threads())
  for (int piece = 0; piece < pieces; ++piece)
    call(n * piece / pieces, n * (piece + 1) / pieces, piece);
}

template <typename Body>
void ParallelFor(const KernelContext& context, int64_t n, const Body& body) {
  ParallelFor(context, n, 1, body);
}

}  // namespace moe

#endif  // MOE_CPU_KERNEL_CONTEXT_H_
