#ifndef COMM_BASE_CHECK_H_
#define COMM_BASE_CHECK_H_

// Checks of our own invariants: a failure is a defect of this program, never
// of its input (those are absl::Status). Ends the process with exit code 70.

namespace moe {

// Prints "FILE:LINE: check failed: CONDITION" to standard error and exits.
[[noreturn]] void CheckFailed(const char* file, int line,
                              const char* condition);

}  // namespace moe

#define CHECK(condition)        \
  (static_cast<bool>(condition) \
       ? static_cast<void>(0)   \
       : ::moe::CheckFailed(__FILE__, __LINE__, #condition))

#endif  // COMM_BASE_CHECK_H_
