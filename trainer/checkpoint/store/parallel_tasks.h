#ifndef TRAINER_CHECKPOINT_STORE_PARALLEL_TASKS_H_
#define TRAINER_CHECKPOINT_STORE_PARALLEL_TASKS_H_

#include <cstdint>
#include <mutex>
#include <string>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "data/corpus.h"

namespace moe {

// task(i) for i in [0, count), begun in this order on up to `threads` threads,
// this one among them, or fewer where the system allows no more. After an error
// no other task begins; the error of the lowest i is returned, the same
// whatever the threads do.
absl::Status RunTasks(int threads, int64_t count,
                      absl::FunctionRef<absl::Status(int64_t)> task);

// Tells a ProgressFunction what many threads have done together, when a
// hundredth more of it is.
class SharedProgress {
 public:
  SharedProgress(ProgressFunction show, std::string what, int64_t total)
      : show_(std::move(show)), what_(std::move(what)), total_(total) {}

  void Add(int64_t amount);

 private:
  const ProgressFunction show_;
  const std::string what_;
  const int64_t total_;
  std::mutex mutex_;
  int64_t done_ = 0;
  int64_t shown_percent_ = -1;
};

}  // namespace moe

#endif  // TRAINER_CHECKPOINT_STORE_PARALLEL_TASKS_H_
