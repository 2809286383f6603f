#include "trainer/checkpoint/store/parallel_tasks.h"

#include <algorithm>
#include <thread>
#include <vector>

#include "comm/base/quiet_thread.h"

namespace moe {

absl::Status RunTasks(int threads, int64_t count,
                      absl::FunctionRef<absl::Status(int64_t)> task) {
  std::mutex mutex;
  int64_t next = 0;
  int64_t failed = count;  // the lowest that did
  absl::Status error;
  const auto work = [&] {
    std::unique_lock<std::mutex> lock(mutex);
    while (next < count && error.ok()) {
      const int64_t index = next++;
      lock.unlock();
      absl::Status status = task(index);
      lock.lock();
      if (status.ok() || index > failed) continue;
      failed = index;
      error = std::move(status);
    }
  };
  std::vector<std::thread> others;
  for (int64_t i = 1; i < std::min<int64_t>(threads, count); ++i) {
    absl::StatusOr<std::thread> thread = StartQuietThread("task", work);
    if (!thread.ok()) break;
    others.push_back(*std::move(thread));
  }
  work();
  for (std::thread& thread : others) thread.join();
  return error;
}

void SharedProgress::Add(int64_t amount) {
  const std::lock_guard<std::mutex> lock(mutex_);
  done_ += amount;
  const int64_t percent =
      total_ == 0 ? 100
                  : static_cast<int64_t>(100.0 * static_cast<double>(done_) /
                                         static_cast<double>(total_));
  if (percent == shown_percent_) return;
  shown_percent_ = percent;
  show_(what_, done_, total_);
}

}  // namespace moe
