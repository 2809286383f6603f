#ifndef COMM_MPI_AWAIT_H_
#define COMM_MPI_AWAIT_H_

#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "comm/activity.h"
#include "comm/base/monotonic_time.h"

namespace moe {

// How a process waits for others.
struct AwaitOptions {
  // More ranks than cores on this node: yield at once, then sleep, so that the
  // rank that is waited for gets the core.
  bool oversubscribed = false;
  // DeadlineExceeded after this time, not counting what passes while the
  // process is suspended. Where a watchdog runs, which ends the
  // whole job at a time limit, a little more than that.
  absl::Duration timeout = absl::Minutes(10);
};

// The one place where a rank waits for another. Calls `is_done` until it
// returns true: first busily for a few microseconds (not if oversubscribed),
// then yielding, then with sleeps that grow to 200 microseconds. `describe`
// says what for, in the activity of this process and in the error; it is asked
// when the wait lasts, and again ten times a second.
absl::Status Await(const AwaitOptions& options,
                   absl::FunctionRef<bool()> is_done,
                   absl::FunctionRef<WaitRecord()> describe);

// For its lifetime the process is in a call of MPI that blocks until all ranks
// of a group come to it: the watchdog takes that for a wait.
class BlockingCall {
 public:
  // `operation` is a literal; `first_rank` of the group, in the world.
  BlockingCall(const char* operation, const std::string& group, int first_rank);
  ~BlockingCall() { EndWait(MonotonicTime() - begin_); }
  BlockingCall(const BlockingCall&) = delete;
  BlockingCall& operator=(const BlockingCall&) = delete;

 private:
  const absl::Duration begin_;
};

}  // namespace moe

#endif  // COMM_MPI_AWAIT_H_
