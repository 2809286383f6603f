#ifndef LAUNCH_COMMAND_END_ON_SIGNALS_H_
#define LAUNCH_COMMAND_END_ON_SIGNALS_H_

#include "absl/status/status.h"

namespace moe {

// For programs whose work cannot be kept half done. From now on a signal that
// asks for the end (StopSignals)
//
//   1. removes what must not stay behind (RemovalAtEnd);
//   2. says so: "PROGRAM: stopped as asked by SIGTERM: ...";
//   3. ends the process with ExitCode(Cancelled), 75.
//
// A second one ends it as if unhandled, should a disk hang. Call it from the
// first thread, while there is no other. `program`: a literal.
// ResourceExhausted: the system does not allow the thread that waits for them.
absl::Status EndOnSignals(const char* program);

// The same for one of several ranks, of whose end the launcher tells: does 1.,
// says nothing, and then the signal ends the process as if unhandled.
absl::Status RemoveOnSignals();

}  // namespace moe

#endif  // LAUNCH_COMMAND_END_ON_SIGNALS_H_
