#include "trainer/checkpoint/background_job.h"

#include <pthread.h>
#include <signal.h>

#include <utility>

#include "comm/check.h"

namespace moe {

void BackgroundJob::Start(std::function<absl::Status()> job) {
  CHECK(!thread_.joinable());
  status_ = absl::OkStatus();
  running_ = true;
  // A new thread has its maker's mask.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this, job = std::move(job)] {
    status_ = job();
    running_ = false;
  });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

absl::Status BackgroundJob::Wait() {
  if (thread_.joinable()) thread_.join();
  return std::exchange(status_, absl::OkStatus());
}

}  // namespace moe
