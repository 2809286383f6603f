#include "launch/command/end_on_signals.h"

#include <pthread.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <string>
#include <thread>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "comm/base/exit_code.h"
#include "comm/base/quiet_thread.h"
#include "comm/base/stack_trace.h"
#include "comm/base/status_macros.h"
#include "comm/mpi/refused_memory.h"
#include "trainer/run/stop_signal.h"

namespace moe {
namespace {

// The end of a process that says it; `program` null: of one that does not.
[[noreturn]] void End(const char* program, int signal) {
  if (program == nullptr) {
    kill(getpid(), signal);  // this thread alone can take it
  } else {
    const std::string text =
        absl::StrCat(program, ": stopped as asked by ", SignalName(signal),
                     ": what was not finished is removed\n");
    // As one write, and not of stdio, which the first thread may hold.
    static_cast<void>(!write(STDERR_FILENO, text.data(), text.size()));
  }
  // Also where a shell has set the signal to be ignored.
  std::_Exit(ExitCode(absl::CancelledError("")));
}

void AwaitSignal(const char* program, const sigset_t& signals) {
  int signal = 0;
  while (sigwait(&signals, &signal) != 0) {
  }
  // No thread but this one takes the second.
  pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
  const RemovalAtEnd::Lock removed = RemovalAtEnd::RemoveAll();
  End(program, signal);
}

absl::Status StartAwaiting(const char* program) {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : StopSignals()) sigaddset(&signals, signal);
  // Later threads have this mask too. Blocked signals wait for sigwait, also
  // those that a shell has set to be ignored.
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  ASSIGN_OR_RETURN(std::thread thread,
                   StartQuietThread("signals", [program, signals] {
                     AwaitSignal(program, signals);
                   }));
  thread.detach();
  return absl::OkStatus();
}

}  // namespace

absl::Status EndOnSignals(const char* program) {
  return StartAwaiting(program);
}

absl::Status RemoveOnSignals() { return StartAwaiting(/*program=*/nullptr); }

}  // namespace moe
