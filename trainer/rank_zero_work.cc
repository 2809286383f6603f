#include "trainer/rank_zero_work.h"

#include <chrono>
#include <cstdint>
#include <future>

#include "comm/process_groups.h"
#include "comm/status_macros.h"

namespace moe {
namespace {

constexpr std::chrono::seconds kSignOfLife(1);

}  // namespace

absl::Status RunOnRankZero(const std::function<absl::Status()>& work,
                           ProcessGroup& world) {
  absl::Status status;
  if (world.size() == 1) return work();
  std::future<absl::Status> result;
  if (world.rank() == 0) result = std::async(std::launch::async, work);
  int32_t done = 0;
  while (done == 0) {
    if (world.rank() == 0 &&
        result.wait_for(kSignOfLife) == std::future_status::ready) {
      done = 1;
      status = result.get();
    }
    RETURN_IF_ERROR(
        world.Broadcast(ViewOf(absl::MakeSpan(&done, 1)), /*root=*/0));
  }
  return AgreeOnStatus(status, world);
}

}  // namespace moe
