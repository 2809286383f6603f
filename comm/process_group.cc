#include "comm/process_group.h"

#include "comm/base/status_macros.h"

namespace moe {
namespace {

absl::Status WaitFor(absl::StatusOr<std::unique_ptr<Work>> work) {
  RETURN_IF_ERROR(work.status());
  return (*work)->Wait();
}

}  // namespace

absl::Status ProcessGroup::AllReduce(MemoryView data, ReduceOp op) {
  return WaitFor(StartAllReduce(data, op));
}

absl::Status ProcessGroup::ReduceScatter(ConstMemoryView input,
                                         MemoryView output) {
  return WaitFor(StartReduceScatter(input, output));
}

absl::Status ProcessGroup::AllGather(ConstMemoryView input, MemoryView output) {
  return WaitFor(StartAllGather(input, output));
}

absl::Status ProcessGroup::Broadcast(MemoryView data, int root) {
  return WaitFor(StartBroadcast(data, root));
}

absl::Status ProcessGroup::AllToAllV(ConstMemoryView send,
                                     absl::Span<const int64_t> send_counts,
                                     MemoryView receive,
                                     absl::Span<const int64_t> receive_counts) {
  return WaitFor(StartAllToAllV(send, send_counts, receive, receive_counts));
}

absl::Status ProcessGroup::Barrier() { return WaitFor(StartBarrier()); }

}  // namespace moe
