#include "trainer/stop_signal.h"

#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <initializer_list>

#include "comm/stack_trace.h"

namespace moe {
namespace {

// A mutable global, because a signal handler has nothing else to write to.
volatile std::sig_atomic_t stop_signal_received = 0;

extern "C" void OnStopSignal(int signal) {
  if (stop_signal_received != 0 && signal == SIGINT) {
    std::signal(SIGINT, SIG_DFL);
    std::raise(SIGINT);
  }
  stop_signal_received = 1;
}

}  // namespace

void InstallStopSignals() {
  UseSignalStack();  // signals of a process go to this, its first thread
  struct sigaction action = {};
  action.sa_handler = OnStopSignal;
  action.sa_flags = SA_RESTART | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  for (int signal : {SIGUSR1, SIGTERM, SIGINT, SIGHUP, SIGXCPU}) {
    struct sigaction before = {};
    sigaction(signal, nullptr, &before);
    const bool is_nohup = signal == SIGHUP && before.sa_handler == SIG_IGN;
    if (!is_nohup) sigaction(signal, &action, nullptr);
  }
}

bool StopSignalReceived() { return stop_signal_received != 0; }

void ReportStopSignalsHandled() {
  const char* path = std::getenv("MOE_READY_FILE");
  if (path == nullptr) return;
  const int file = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  if (file >= 0) close(file);
}

}  // namespace moe
