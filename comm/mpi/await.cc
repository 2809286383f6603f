#include "comm/mpi/await.h"

#include <sched.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "comm/base/running_time.h"

namespace moe {
namespace {

// Busy tests before the first yield: a message between two cores of a node
// takes about a microsecond, a few tests long.
constexpr int kBusyTests = 200;
// Yields before the first sleep. A yield of one rank among many on a core often
// comes straight back: with 16 ranks on 2 cores, 20 yields made an all-reduce
// of 4 MB three times slower than 2 did.
constexpr int kYields = 100;
constexpr int kYieldsOversubscribed = 2;
constexpr absl::Duration kFirstSleep = absl::Microseconds(5);
constexpr absl::Duration kLongestSleep = absl::Microseconds(200);
constexpr absl::Duration kDescribeEvery = absl::Milliseconds(100);

// Counts as time waited for others from construction to destruction, and ends
// a wait that was told of.
class WaitingTime {
 public:
  WaitingTime() : begin_(MonotonicTime()) {}
  ~WaitingTime() { EndWait(MonotonicTime() - begin_); }
  WaitingTime(const WaitingTime&) = delete;
  WaitingTime& operator=(const WaitingTime&) = delete;

 private:
  const absl::Duration begin_;
};

}  // namespace

absl::Status Await(const AwaitOptions& options,
                   absl::FunctionRef<bool()> is_done,
                   absl::FunctionRef<WaitRecord()> describe) {
  const int busy_tests = options.oversubscribed ? 1 : kBusyTests;
  for (int i = 0; i < busy_tests; ++i)
    if (is_done()) return absl::OkStatus();

  const WaitingTime waiting;
  const int yields = options.oversubscribed ? kYieldsOversubscribed : kYields;
  for (int i = 0; i < yields; ++i) {
    sched_yield();
    if (is_done()) return absl::OkStatus();
  }

  BeginWait(describe());
  RunningTime time;
  absl::Duration waited;
  absl::Duration described;
  absl::Duration sleep = kFirstSleep;
  while (waited < options.timeout) {
    absl::SleepFor(sleep);
    if (is_done()) return absl::OkStatus();
    waited += time.Take();
    sleep = std::min(2 * sleep, kLongestSleep);
    if (sleep < kLongestSleep || waited - described < kDescribeEvery) continue;
    UpdateWait(describe());
    described = waited;
  }
  return absl::DeadlineExceededError(
      absl::StrCat(ToString(describe()), " did not complete within ",
                   absl::FormatDuration(options.timeout)));
}

// Without a sequence: none can be taken for another collective.
BlockingCall::BlockingCall(const char* operation, const std::string& group,
                           int first_rank)
    : begin_(MonotonicTime()) {
  WaitRecord wait;
  wait.operation = operation;
  wait.group = group;
  wait.first_rank = first_rank;
  wait.position = CurrentPosition();
  BeginWait(wait);
}

}  // namespace moe
