#include "comm/base/quiet_thread.h"

#include <pthread.h>
#include <sys/resource.h>

#include <csignal>
#include <future>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

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

// "; at most N WHAT are allowed (ulimit -u)"
std::string LimitText(const rlimit& limit, const char* what,
                      const char* option) {
  if (limit.rlim_cur == RLIM_INFINITY) return "";
  return absl::StrCat("; at most ", limit.rlim_cur, " ", what,
                      " are allowed (ulimit ", option, ")");
}

absl::Status NoThread(const char* name, const std::system_error& error) {
  rlimit processes = {};
  rlimit bytes = {};
  getrlimit(RLIMIT_NPROC, &processes);
  getrlimit(RLIMIT_AS, &bytes);
  return absl::ResourceExhaustedError(absl::StrCat(
      "cannot start the thread ", name, ": ", error.code().message(),
      LimitText(processes, "processes of the user", "-u"),
      LimitText(bytes, "bytes of address space", "-v")));
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

absl::Status ProbeThreads(const char* name, int num_threads) {
  absl::Status status;
  std::promise<void> over;
  const std::shared_future<void> end = over.get_future().share();
  std::vector<std::thread> threads;
  for (int i = 0; i < num_threads && status.ok(); ++i) {
    absl::StatusOr<std::thread> thread =
        StartQuietThread(name, [end] { end.wait(); });
    status = thread.status();
    if (thread.ok()) threads.push_back(*std::move(thread));
  }
  over.set_value();
  for (std::thread& thread : threads) thread.join();
  return status;
}

}  // namespace moe
