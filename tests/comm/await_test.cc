#include "comm/mpi/await.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <string>

#include "absl/time/clock.h"

namespace moe {
namespace {

WaitRecord AnyWait() {
  WaitRecord wait;
  wait.operation = "all-to-all-v";
  wait.group = "expert";
  wait.sequence = 7;
  wait.position = {.step = 3, .layer = 1, .phase = Phase::kDispatch};
  return wait;
}

class AwaitTest : public testing::TestWithParam<bool> {
 protected:
  void Limit(absl::Duration timeout) {
    options_ = {.oversubscribed = GetParam(), .timeout = timeout};
  }

  AwaitOptions options_;
};

TEST_P(AwaitTest, ReturnsWhenItIsDone) {
  Limit(absl::Minutes(1));
  // In its busy, yielding and sleeping phases.
  for (int needed : {1, 50, 400}) {
    int calls = 0;
    EXPECT_TRUE(Await(
                    options_, [&] { return ++calls == needed; }, AnyWait)
                    .ok());
    EXPECT_EQ(calls, needed) << "not called again once done";
  }
}

TEST_P(AwaitTest, GivesUpAfterTheTimeoutAndNamesTheOperation) {
  Limit(absl::Milliseconds(2));
  const absl::Status status = Await(
      options_, [] { return false; }, AnyWait);
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(
      std::string(status.message()),
      "all-to-all-v 7 in group expert (step 3, layer 1, dispatch) did not "
      "complete within 2ms");
}

// A child process that waits is stopped for longer than its limit.
TEST_P(AwaitTest, DoesNotCountTimeWhileTheProcessIsSuspended) {
  Limit(absl::Seconds(3));
  const pid_t child = fork();
  if (child == 0) {
    bool was_stopped = false;
    const auto is_done = [&] {
      if (!CurrentActivity().waits) return false;  // before it sleeps
      if (was_stopped) return true;
      was_stopped = true;
      std::raise(SIGSTOP);
      return false;
    };
    _exit(Await(options_, is_done, AnyWait).ok() ? 0 : 1);
  }
  int state = 0;
  ASSERT_EQ(waitpid(child, &state, WUNTRACED), child);
  ASSERT_TRUE(WIFSTOPPED(state));
  absl::SleepFor(absl::Seconds(4));  // what is tested
  kill(child, SIGCONT);
  ASSERT_EQ(waitpid(child, &state, 0), child);
  EXPECT_TRUE(WIFEXITED(state));
  EXPECT_EQ(WEXITSTATUS(state), 0);
}

TEST_P(AwaitTest, TellsOfAWaitWhileItLastsAndCountsItsTime) {
  Limit(absl::Minutes(1));
  const absl::Duration before = TimeWaited();
  const int64_t changes = CurrentActivity().changes;
  int calls = 0;
  bool told = false;
  EXPECT_TRUE(Await(
                  options_,
                  [&] {
                    // Sees itself sleep once the busy and yielding tests are
                    // over.
                    const Activity activity = CurrentActivity();
                    told = activity.waits && activity.wait.sequence == 7 &&
                           activity.changes > changes;
                    return told || ++calls > 100000;
                  },
                  AnyWait)
                  .ok());
  EXPECT_TRUE(told);
  EXPECT_FALSE(CurrentActivity().waits);
  EXPECT_GT(TimeWaited(), before);
}

TEST_P(AwaitTest, HearsNewsOfALongWait) {
  Limit(absl::Minutes(1));
  int64_t arrived = 0;
  int64_t seen = 0;
  EXPECT_TRUE(Await(
                  options_,
                  [&] {
                    seen = CurrentActivity().wait.arrived_bytes;
                    return seen >= 2;
                  },
                  [&] {
                    WaitRecord wait = AnyWait();
                    wait.arrived_bytes = ++arrived;
                    return wait;
                  })
                  .ok());
  EXPECT_EQ(seen, 2);
}

INSTANTIATE_TEST_SUITE_P(Oversubscribed, AwaitTest, testing::Bool());

}  // namespace
}  // namespace moe
