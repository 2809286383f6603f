#ifndef COMM_BASE_STACK_TRACE_H_
#define COMM_BASE_STACK_TRACE_H_

#include <string>
#include <vector>

#include "absl/time/time.h"

namespace moe {

// Gives the calling thread a stack for signal handlers, if it has none. A
// handler of ours needs it: oneDNN's float32 products let the stack pointer
// point into a buffer of the heap, and the kernel would write a signal's frame
// to what lies before it.
void UseSignalStack();

// Functions on a stack, the innermost first.
using StackTrace = std::vector<std::string>;

// Makes the calling thread the one whose stack StackOfMainThread tells of.
void InstallStackTraces();

// From another thread: the main thread's stack now; empty if it did not answer
// within `patience` (it is stopped, or in the hands of the kernel).
StackTrace StackOfMainThread(absl::Duration patience);

// What ends a process because of a defect, SIGSEGV and the like, or for want of
// memory.
struct Crash {
  int signal = 0;  // 0: none
  bool refused_memory = false;
  StackTrace stack;
};

// From now on such a signal writes to `wake_descriptor` (an eventfd) and gives
// another thread, which may then ask for TheCrash and must say CrashWasTold,
// two seconds before the process ends as it would have. AddressSanitizer, if it
// is there, keeps its own handlers. With -1 nobody is told any more.
void InstallCrashHandlers(int wake_descriptor);
Crash TheCrash();
// The same for a defect that is no signal (Crash::signal is SIGABRT): the
// calling thread's stack, and the two seconds. Nothing where no handlers stand.
void TellOfDefect();
// The same for memory that was refused: where it is told within the two
// seconds, waits ten more for the job to be ended, and returns true. False at
// once where no handlers stand.
bool TellOfRefusedMemory();
// The same for the thread that tells: it goes on.
void NoteRefusedMemory();
void CrashWasTold();

// "SIGSEGV"
std::string SignalName(int signal);

}  // namespace moe

#endif  // COMM_BASE_STACK_TRACE_H_
