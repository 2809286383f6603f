#include "comm/await.h"

#include <sched.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

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

// How the process waits: set once at start, before any wait.
AwaitOptions& GlobalOptions() {
  static AwaitOptions options;
  return options;
}

}  // namespace

void SetAwaitOptions(const AwaitOptions& options) { GlobalOptions() = options; }

absl::Status Await(absl::FunctionRef<bool()> is_done, absl::string_view what) {
  const AwaitOptions& options = GlobalOptions();
  const int busy_tests = options.oversubscribed ? 1 : kBusyTests;
  for (int i = 0; i < busy_tests; ++i)
    if (is_done()) return absl::OkStatus();

  const int yields = options.oversubscribed ? kYieldsOversubscribed : kYields;
  for (int i = 0; i < yields; ++i) {
    sched_yield();
    if (is_done()) return absl::OkStatus();
  }

  const absl::Time deadline = absl::Now() + options.timeout;
  absl::Duration sleep = kFirstSleep;
  while (absl::Now() < deadline) {
    absl::SleepFor(sleep);
    if (is_done()) return absl::OkStatus();
    sleep = std::min(2 * sleep, kLongestSleep);
  }
  return absl::DeadlineExceededError(
      absl::StrCat(what, " did not complete within ",
                   absl::FormatDuration(options.timeout)));
}

}  // namespace moe
