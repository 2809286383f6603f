#include "trainer/checkpoint/store/background_job.h"

#include <utility>

#include "absl/status/statusor.h"
#include "comm/base/check.h"
#include "comm/base/quiet_thread.h"

namespace moe {

void BackgroundJob::Start(std::function<absl::Status()> job) {
  CHECK(!thread_.joinable());
  status_ = absl::OkStatus();
  running_ = true;
  absl::StatusOr<std::thread> thread =
      StartQuietThread("writer", [this, job = std::move(job)] {
        status_ = job();
        running_ = false;
      });
  if (thread.ok()) {
    thread_ = *std::move(thread);
  } else {
    status_ = thread.status();
    running_ = false;
  }
}

absl::Status BackgroundJob::Wait() {
  if (thread_.joinable()) thread_.join();
  return std::exchange(status_, absl::OkStatus());
}

}  // namespace moe
