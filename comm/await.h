#ifndef COMM_AWAIT_H_
#define COMM_AWAIT_H_

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace moe {

// How this process waits; set once at start by MpiRuntime.
struct AwaitOptions {
  // More ranks than cores on this node: yield at once, then sleep, so that the
  // rank that is waited for gets the core.
  bool oversubscribed = false;
  // DeadlineExceeded after this time.
  absl::Duration timeout = absl::Minutes(10);
};
void SetAwaitOptions(const AwaitOptions& options);

// The one place where a rank waits for another. Calls `is_done` until it
// returns true: first busily for a few microseconds (not if oversubscribed),
// then yielding, then with sleeps that grow to 200 microseconds. `what` names
// the operation in the error: "all-to-all-v in group expert".
absl::Status Await(absl::FunctionRef<bool()> is_done, absl::string_view what);

}  // namespace moe

#endif  // COMM_AWAIT_H_
