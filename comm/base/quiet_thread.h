#ifndef COMM_BASE_QUIET_THREAD_H_
#define COMM_BASE_QUIET_THREAD_H_

#include <functional>
#include <thread>

#include "absl/status/statusor.h"

namespace moe {

// A thread that takes none of the signals that ask the process for something:
// those are the main thread's. `name`: a literal, at most 15 characters, for
// debuggers. ResourceExhausted, with the limits: the system allows no more.
absl::StatusOr<std::thread> StartQuietThread(const char* name,
                                             std::function<void()> run);

// ResourceExhausted: the system does not allow `num_threads` more at a time,
// which a library is about to start that ends the process where it is refused
// one. Starts and ends them.
absl::Status ProbeThreads(const char* name, int num_threads);

}  // namespace moe

#endif  // COMM_BASE_QUIET_THREAD_H_
