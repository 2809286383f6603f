#include "trainer/checkpoint/store/parallel_tasks.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/no_threads.h"

namespace moe {
namespace {

TEST(RunTasks, DoesEachOnce) {
  for (int threads : {1, 3, 100}) {
    std::vector<std::atomic<int>> times(50);
    EXPECT_TRUE(RunTasks(threads, 50, [&](int64_t i) {
                  ++times[static_cast<size_t>(i)];
                  return absl::OkStatus();
                }).ok());
    for (const std::atomic<int>& count : times) EXPECT_EQ(count, 1);
  }
}

TEST(RunTasks, DoesAllItselfWhereNoThreadCanBeStarted) {
  const NoThreads none;
  int times = 0;
  EXPECT_TRUE(RunTasks(8, 5, [&](int64_t) {
                ++times;
                return absl::OkStatus();
              }).ok());
  EXPECT_EQ(times, 5);
}

TEST(RunTasks, OfNoneIsOk) {
  EXPECT_TRUE(RunTasks(4, 0, [](int64_t) {
                return absl::InternalError("none was asked for");
              }).ok());
}

// Task 1 fails when task 0 is about to; either may be the first to be known.
TEST(RunTasks, TheLowestErrorIsTheResultWhateverTheThreadsDo) {
  for (int repetition = 0; repetition < 200; ++repetition) {
    std::atomic<bool> second_began = false;
    std::atomic<bool> first_ends = false;
    const auto wait_for = [](const std::atomic<bool>& flag) {
      while (!flag) std::this_thread::yield();
    };
    const absl::Status status = RunTasks(2, 2, [&](int64_t i) {
      if (i == 0) {
        wait_for(second_began);
        first_ends = true;
      } else {
        second_began = true;
        wait_for(first_ends);
      }
      return absl::DataLossError(absl::StrCat("task ", i));
    });
    ASSERT_EQ(status.message(), "task 0");
  }
}

TEST(RunTasks, NoneBeginsAfterAnError) {
  int begun = 0;
  const absl::Status status = RunTasks(1, 50, [&](int64_t i) {
    ++begun;
    return i == 3 ? absl::DataLossError("3") : absl::OkStatus();
  });
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(begun, 4);
}

TEST(SharedProgress, TellsHundredthsUpToAll) {
  std::vector<int64_t> shown;
  SharedProgress progress(
      [&](const std::string& what, int64_t done, int64_t total) {
        EXPECT_EQ(what, "reading");
        EXPECT_EQ(total, 100000);
        shown.push_back(done);
      },
      "reading", 100000);
  EXPECT_TRUE(RunTasks(4, 100000, [&](int64_t) {
                progress.Add(1);
                return absl::OkStatus();
              }).ok());
  EXPECT_EQ(shown.size(), 101u);  // 0 % to 100 %
  EXPECT_EQ(shown.back(), 100000);
}

}  // namespace
}  // namespace moe
