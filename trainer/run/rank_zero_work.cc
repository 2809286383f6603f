#include "trainer/run/rank_zero_work.h"

#include <chrono>
#include <cstdint>
#include <future>
#include <thread>

#include "absl/cleanup/cleanup.h"
#include "comm/base/quiet_thread.h"
#include "comm/base/status_macros.h"
#include "comm/process_groups.h"

namespace moe {
namespace {

constexpr std::chrono::seconds kSignOfLife(1);

}  // namespace

absl::Status RunOnRankZero(const std::function<absl::Status()>& work,
                           ProcessGroup& world) {
  if (world.size() == 1) return work();
  std::packaged_task<absl::Status()> task(work);
  std::future<absl::Status> result = task.get_future();
  absl::StatusOr<std::thread> thread;
  absl::Status status;
  if (world.rank() == 0) {
    thread = StartQuietThread("rank_zero_work", [&task] { task(); });
    status = thread.status();
  }
  const absl::Cleanup join = [&thread] {
    if (thread.ok()) thread->join();
  };
  int32_t done = status.ok() ? 0 : 1;
  do {
    if (world.rank() == 0 && done == 0 &&
        result.wait_for(kSignOfLife) == std::future_status::ready) {
      done = 1;
      status = result.get();
    }
    RETURN_IF_ERROR(
        world.Broadcast(ViewOf(absl::MakeSpan(&done, 1)), /*root=*/0));
  } while (done == 0);
  return AgreeOnStatus(status, world);
}

}  // namespace moe
