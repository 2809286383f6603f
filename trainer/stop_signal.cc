#include "trainer/stop_signal.h"

#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <initializer_list>

namespace moe {
namespace {

// Mutable globals, because a signal handler has nothing else to write to.
alignas(16) char handler_stack[size_t{1} << 16];
volatile std::sig_atomic_t stop_signal_received = 0;

extern "C" void OnStopSignal(int signal) {
  if (stop_signal_received != 0 && signal == SIGINT) {
    std::signal(SIGINT, SIG_DFL);
    std::raise(SIGINT);
  }
  stop_signal_received = 1;
}

// oneDNN's float32 products let the stack pointer point into a buffer of the
// heap, and the kernel would write a signal's frame to what lies before it.
// Signals of a process go to this, its first thread.
void UseStackOfItsOwn() {
  stack_t stack = {};
  sigaltstack(nullptr, &stack);
  if ((stack.ss_flags & SS_DISABLE) == 0) return;  // a sanitizer has made one
  stack.ss_sp = handler_stack;
  stack.ss_size = sizeof(handler_stack);
  stack.ss_flags = 0;
  sigaltstack(&stack, nullptr);
}

}  // namespace

void InstallStopSignals() {
  UseStackOfItsOwn();
  struct sigaction action = {};
  action.sa_handler = OnStopSignal;
  action.sa_flags = SA_RESTART | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  for (int signal : {SIGUSR1, SIGTERM, SIGINT, SIGHUP}) {
    struct sigaction before = {};
    sigaction(signal, nullptr, &before);
    const bool is_nohup = signal == SIGHUP && before.sa_handler == SIG_IGN;
    if (!is_nohup) sigaction(signal, &action, nullptr);
  }
  std::signal(SIGPIPE, SIG_IGN);
}

bool StopSignalReceived() { return stop_signal_received != 0; }

void ReportStopSignalsHandled() {
  const char* path = std::getenv("MOE_READY_FILE");
  if (path == nullptr) return;
  const int file = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  if (file >= 0) close(file);
}

}  // namespace moe
