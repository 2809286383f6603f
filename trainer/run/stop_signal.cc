#include "trainer/run/stop_signal.h"

#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include "comm/base/stack_trace.h"

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

std::vector<int> StopSignals() {
  std::vector<int> signals = {SIGUSR1, SIGTERM, SIGINT, SIGXCPU};
  struct sigaction hang_up = {};
  sigaction(SIGHUP, nullptr, &hang_up);
  if (hang_up.sa_handler != SIG_IGN) signals.push_back(SIGHUP);
  return signals;
}

void InstallStopSignals() {
  UseSignalStack();  // signals of a process go to this, its first thread
  struct sigaction action = {};
  action.sa_handler = OnStopSignal;
  action.sa_flags = SA_RESTART | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  for (const int signal : StopSignals()) sigaction(signal, &action, nullptr);
}

bool StopSignalReceived() { return stop_signal_received != 0; }

void ReportStopSignalsHandled() {
  const char* path = std::getenv("MOE_READY_FILE");
  if (path == nullptr) return;
  const int file = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  if (file >= 0) close(file);
}

}  // namespace moe
