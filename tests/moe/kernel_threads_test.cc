#include <gtest/gtest.h>
#include <unistd.h>

#include <mutex>
#include <set>

#include "moe/cpu/cpu_kernels.h"

namespace moe::cpu {
namespace {

// The threads that share a loop of `n` rows.
std::set<pid_t> ThreadsOf(const CpuKernels& kernels, int64_t n) {
  std::mutex mutex;
  std::set<pid_t> threads;
  ParallelFor(kernels, n, [&](int64_t, int64_t) {
    const std::lock_guard<std::mutex> lock(mutex);
    threads.insert(gettid());
  });
  return threads;
}

// A thread that ended would have to be started anew, which the system may
// refuse in the midst of a run.
TEST(KernelThreads, StayAlsoWhereALoopHasNoUseForThem) {
  const CpuKernels kernels(4, CpuContext());
  ASSERT_TRUE(kernels.status().ok());
  const std::set<pid_t> all = ThreadsOf(kernels, 4);
  EXPECT_EQ(all.size(), 4u);
  for (const int64_t n : {2, 1, 3, 2, 4}) {
    for (const pid_t thread : ThreadsOf(kernels, n))
      EXPECT_TRUE(all.contains(thread)) << n;
  }
  EXPECT_EQ(ThreadsOf(kernels, 100), all);
}

}  // namespace
}  // namespace moe::cpu
