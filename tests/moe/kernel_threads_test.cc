#include <gtest/gtest.h>
#include <unistd.h>

#include <mutex>
#include <set>

#include "moe/cpu/kernel_context.h"

namespace moe {
namespace {

// The threads that share a loop of `n` rows.
std::set<pid_t> ThreadsOf(const KernelContext& context, int64_t n) {
  std::mutex mutex;
  std::set<pid_t> threads;
  ParallelFor(context, n, [&](int64_t, int64_t) {
    const std::lock_guard<std::mutex> lock(mutex);
    threads.insert(gettid());
  });
  return threads;
}

// A thread that ended would have to be started anew, which the system may
// refuse in the midst of a run.
TEST(KernelThreads, StayAlsoWhereALoopHasNoUseForThem) {
  const KernelContextPtr context = MakeKernelContext(4);
  ASSERT_TRUE(KernelStatus(*context).ok());
  const std::set<pid_t> all = ThreadsOf(*context, 4);
  EXPECT_EQ(all.size(), 4u);
  for (const int64_t n : {2, 1, 3, 2, 4}) {
    for (const pid_t thread : ThreadsOf(*context, n))
      EXPECT_TRUE(all.contains(thread)) << n;
  }
  EXPECT_EQ(ThreadsOf(*context, 100), all);
}

}  // namespace
}  // namespace moe
