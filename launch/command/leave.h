#ifndef LAUNCH_COMMAND_LEAVE_H_
#define LAUNCH_COMMAND_LEAVE_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "comm/mpi/foreign_launcher.h"
#include "comm/mpi/mpi_runtime.h"
#include "comm/watch/watchdog.h"

namespace moe {

// Writes to standard output at once, piece by piece, for programs that do
// nothing else: where the reader has left, who had all it wanted, nothing is
// left to do, and the process ends with 0. What is refused shows in the
// stream's state.
void StreamOutput(absl::string_view text);

// How programs end, so that one rank speaks, once, and no launcher has reason
// to. They return main's exit code.

// Before MPI was started: prints the text to standard output, whose reader may
// have left, or "PROGRAM: message" to standard error. Every rank has come to
// the same end by itself. Rank 0, by the launcher's environment, speaks and
// leaves; after an error the others give the launcher up to ten seconds to end
// them, so that none of them can be taken for the one that failed.
int LeaveWithoutMpi(absl::string_view program,
                    const absl::StatusOr<std::string>& text);
// The same for a program that has something to print and then may fail.
int LeaveWithoutMpi(absl::string_view program, const std::string& text,
                    const absl::Status& status);

// Where another launcher started this process as one of several: the first of
// them speaks, as above.
int LeaveForeignLauncher(absl::string_view program,
                         const ForeignLauncher& launcher);

// When MPI could not be started, which may have failed on this rank alone:
// every rank that it fails on says so and ends at once.
[[noreturn]] void LeaveAfterFailedStart(absl::string_view program,
                                        const absl::Status& status);

// After MPI was started: says an error as above and finalises MPI. An error
// that only this rank knows of ends the job: by the watchdog, which says it, or
// without one by aborting.
int Leave(absl::string_view program, const absl::Status& status,
          std::unique_ptr<MpiRuntime> runtime,
          std::unique_ptr<Watchdog> watchdog = nullptr);

// What a watchdog does with what it finds: says it on standard error, and keeps
// it in `directory` if the disk lets it. On any thread. `program`: a literal.
std::function<void(const LostRankReport&)> LostRankReporter(
    const char* program, const std::string& directory);

}  // namespace moe

#endif  // LAUNCH_COMMAND_LEAVE_H_
