#include "comm/quiet_thread.h"

#include <pthread.h>
#include <sys/resource.h>

#include <csignal>
#include <string>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"

namespace moe {
namespace {

// A signal of a defect must reach the thread that has it.
sigset_t RequestSignals() {
  sigset_t set;
  sigfillset(&set);
  for (int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT})
    sigdelset(&set, signal);
  return set;
}

absl::Status NoThread(const char* name, const std::system_error& error) {
  rlimit limit = {};
  getrlimit(RLIMIT_NPROC, &limit);
  return absl::ResourceExhaustedError(absl::StrCat(
      "cannot start the thread ", name, ": ", error.code().message(),
      limit.rlim_cur == RLIM_INFINITY
          ? std::string("; no limit of the user's processes (ulimit -u)")
          : absl::StrCat("; at most ", limit.rlim_cur,
                         " processes are allowed to the user (ulimit -u)")));
}

}  // namespace

absl::StatusOr<std::thread> StartQuietThread(const char* name,
                                             std::function<void()> run) {
  // A new thread has its maker's mask.
  const sigset_t quiet = RequestSignals();
  sigset_t before;
  pthread_sigmask(SIG_BLOCK, &quiet, &before);
  absl::StatusOr<std::thread> thread;
  try {
    thread = std::thread(std::move(run));
    pthread_setname_np(thread->native_handle(), name);
  } catch (const std::system_error& error) {
    thread = NoThread(name, error);
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

}  // namespace moe
