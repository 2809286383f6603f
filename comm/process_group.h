#ifndef COMM_PROCESS_GROUP_H_
#define COMM_PROCESS_GROUP_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "comm/base/dtype.h"

namespace moe {

// Borrowed typed memory. Counts are elements, never bytes.
struct MemoryView {
  void* data = nullptr;
  int64_t count = 0;
  DType dtype = DType::kFloat32;

  // Elements [begin, begin + num).
  MemoryView Slice(int64_t begin, int64_t num) const {
    return {static_cast<char*>(data) + begin * SizeOf(dtype), num, dtype};
  }
};

struct ConstMemoryView {
  const void* data = nullptr;
  int64_t count = 0;
  DType dtype = DType::kFloat32;

  ConstMemoryView() = default;
  ConstMemoryView(const void* d, int64_t n, DType t)
      : data(d), count(n), dtype(t) {}
  ConstMemoryView(const MemoryView& view)  // NOLINT: a view may lose write
      : data(view.data), count(view.count), dtype(view.dtype) {}
  ConstMemoryView Slice(int64_t begin, int64_t num) const {
    return {static_cast<const char*>(data) + begin * SizeOf(dtype), num, dtype};
  }
};

template <typename T>
MemoryView ViewOf(absl::Span<T> span) {
  return {span.data(), static_cast<int64_t>(span.size()), DTypeOf<T>()};
}
template <typename T>
ConstMemoryView ViewOf(absl::Span<const T> span) {
  return {span.data(), static_cast<int64_t>(span.size()), DTypeOf<T>()};
}

// The maximum is NaN where a contribution is.
enum class ReduceOp { kSum, kMax };

// A collective under way. Its memory must stay put until Wait returns, and its
// group must outlive it. A destroyed Work that was not waited for waits, unless
// another one of its group has failed.
class Work {
 public:
  virtual ~Work() = default;
  // Moves what can be moved; true once complete. Never blocks.
  virtual bool Test() = 0;
  // Until complete for what this rank does next: of a host's memory the host
  // itself, through Await; of a device's the queue of its kernels.
  virtual absl::Status Wait() = 0;
  // Bytes of other ranks' data that have arrived so far, as seen by the last
  // Test or Wait.
  virtual int64_t arrived_bytes() const = 0;
};

// Bytes and calls of a group since it was made, this rank's sends to others;
// traffic.h foresees them.
struct TrafficCounters {
  int64_t calls = 0;
  int64_t sent_bytes = 0;
};

// Collectives over a fixed set of ranks. Every rank of the group calls the
// same operations in the same order with matching counts and dtypes; blocking
// calls and Start... calls may be mixed, and any number of Works may be open.
//
// CollectiveContract: in which order float sums are made. It is a function of
// the group's size and of the ranks a node alone, never of time, of the count
// or of what else is under way. Today it is rank order, ((x0 + x1) + x2) + ...;
// large groups will add inside each node first, then over the nodes.
//   Callers may rely on: the same bits on each run of one layout; the same
//     result on every rank; bfloat16 sums that accumulate in float32 and round
//     once.
//   Callers may not rely on: rank order itself; equal bits over groups of
//     different sizes, or over the same ranks on other numbers of nodes.
//
// Input and output may not overlap unless a function says so. One thread of the
// process calls.
class ProcessGroup {
 public:
  virtual ~ProcessGroup() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  // For messages: "expert".
  virtual const std::string& name() const = 0;

  // data[i] = sum or max over ranks of data[i], in place.
  virtual absl::StatusOr<std::unique_ptr<Work>> StartAllReduce(MemoryView data,
                                                               ReduceOp op) = 0;

  // output[i] = sum over ranks of their input[rank() * output.count + i].
  // input.count == size() * output.count. `output` may be exactly
  // input.Slice(rank() * output.count, output.count), or not overlap.
  virtual absl::StatusOr<std::unique_ptr<Work>> StartReduceScatter(
      ConstMemoryView input, MemoryView output) = 0;

  // output = the ranks' inputs one after another, all of the same count.
  // `input` may be exactly its own place in output.
  virtual absl::StatusOr<std::unique_ptr<Work>> StartAllGather(
      ConstMemoryView input, MemoryView output) = 0;

  // data = root's data.
  virtual absl::StatusOr<std::unique_ptr<Work>> StartBroadcast(MemoryView data,
                                                               int root) = 0;

  // send holds send_counts[0] elements for rank 0, then send_counts[1] for
  // rank 1, ...; receive likewise by source. The counts are copied. Every rank
  // knows what it receives: receive_counts[s] here == send_counts[here] at s.
  virtual absl::StatusOr<std::unique_ptr<Work>> StartAllToAllV(
      ConstMemoryView send, absl::Span<const int64_t> send_counts,
      MemoryView receive, absl::Span<const int64_t> receive_counts) = 0;

  // Complete when every rank has started it.
  virtual absl::StatusOr<std::unique_ptr<Work>> StartBarrier() = 0;

  // The same, waited for.
  absl::Status AllReduce(MemoryView data, ReduceOp op);
  absl::Status ReduceScatter(ConstMemoryView input, MemoryView output);
  absl::Status AllGather(ConstMemoryView input, MemoryView output);
  absl::Status Broadcast(MemoryView data, int root);
  absl::Status AllToAllV(ConstMemoryView send,
                         absl::Span<const int64_t> send_counts,
                         MemoryView receive,
                         absl::Span<const int64_t> receive_counts);
  absl::Status Barrier();

  virtual TrafficCounters traffic() const = 0;
};

}  // namespace moe

#endif  // COMM_PROCESS_GROUP_H_
