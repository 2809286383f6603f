#ifndef TRAINER_CHECKPOINT_STORE_BACKGROUND_JOB_H_
#define TRAINER_CHECKPOINT_STORE_BACKGROUND_JOB_H_

#include <atomic>
#include <functional>
#include <thread>

#include "absl/status/status.h"

namespace moe {

// One job at a time on a thread of its own, which takes no signals. The job
// must not call MPI.
class BackgroundJob {
 public:
  BackgroundJob() = default;
  ~BackgroundJob() { Wait().IgnoreError(); }
  BackgroundJob(const BackgroundJob&) = delete;
  BackgroundJob& operator=(const BackgroundJob&) = delete;

  // The last one must have been waited for. If there is no thread to be had,
  // Wait says so.
  void Start(std::function<absl::Status()> job);
  // True until the job has returned.
  bool running() const { return running_; }
  // Until it has returned: what it returned. OK when none was started.
  absl::Status Wait();

 private:
  std::thread thread_;
  std::atomic<bool> running_ = false;
  absl::Status status_;
};

}  // namespace moe

#endif  // TRAINER_CHECKPOINT_STORE_BACKGROUND_JOB_H_
