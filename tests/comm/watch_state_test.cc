#include "comm/watch/watch_state.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

namespace moe {
namespace {

class StrangeProcessesTest : public testing::Test {
 protected:
  StrangeProcessesTest() {
    stopped_ = fork();
    if (stopped_ == 0) {
      raise(SIGSTOP);
      _exit(0);
    }
    waitpid(stopped_, nullptr, WUNTRACED);
    const Member self = ThisMember();
    Member other = self;
    other.pid = stopped_;
    roster_ = {self, other};
  }
  ~StrangeProcessesTest() override {
    kill(stopped_, SIGKILL);
    waitpid(stopped_, nullptr, 0);
  }

  RankState Look() const {
    RankState state;
    AddStrangeProcesses(state, roster_, /*self=*/0);
    return state;
  }

  pid_t stopped_ = 0;
  Roster roster_;
};

TEST_F(StrangeProcessesTest, SeesAStoppedRankBesideIt) {
  const RankState state = Look();
  ASSERT_EQ(state.process_size(), 1);
  EXPECT_EQ(state.process(0).rank(), 1);
  EXPECT_EQ(state.process(0).state(), "T");
}

// Its pid is another process here, or none.
TEST_F(StrangeProcessesTest, LooksAtNoRankOfAnotherMachineOfEqualName) {
  roster_[1].kernel = "another";
  EXPECT_EQ(Look().process_size(), 0);
  roster_[1] = roster_[0];
  roster_[1].pid = stopped_;
  ++roster_[1].processes;
  EXPECT_EQ(Look().process_size(), 0);
}

TEST_F(StrangeProcessesTest, LooksAtRanksOfOneMachineWhateverItsNames) {
  roster_[1].host = "another";
  ++roster_[1].network;
  EXPECT_EQ(Look().process_size(), 1);
}

TEST(RankState, SaysWhereARankIsAndWhatItWaitsFor) {
  Activity activity;
  activity.position = {.step = 12, .layer = 3, .phase = Phase::kDispatch};
  RankState state = ToRankState(activity, absl::Seconds(2));
  EXPECT_EQ(state.place(), "step 12, layer 3, dispatch");
  EXPECT_EQ(state.doing(), state.place());
  EXPECT_EQ(state.still_seconds(), 2);
  EXPECT_FALSE(state.has_wait());

  activity.waits = true;
  WaitRecord& wait = activity.wait;
  wait.operation = "all-to-all-v";
  wait.group = "expert";
  wait.first_rank = 4;
  wait.sequence = 812;
  wait.signature = 7;
  wait.position = activity.position;
  wait.expected_bytes = 4096;
  wait.num_missing = WaitRecord::kMostMissing + 2;
  for (int i = 0; i < WaitRecord::kMostMissing; ++i)
    wait.missing[static_cast<size_t>(i)] = {.rank = 4 + i, .num_bytes = 100};
  state = ToRankState(activity, absl::ZeroDuration());
  const std::string place =
      "all-to-all-v 812 in group expert (step 12, layer 3, dispatch)";
  EXPECT_EQ(state.place(), place);
  EXPECT_EQ(state.doing(),
            place +
                ", 0 of 4096 bytes arrived, waiting for rank 4 (100 bytes)"
                ", 5 (100 bytes), 6 (100 bytes), 7 (100 bytes) and 2 more");
  EXPECT_EQ(state.wait().group(), "expert");
  EXPECT_EQ(state.wait().first_rank(), 4);
  EXPECT_EQ(state.wait().sequence(), 812);
  EXPECT_EQ(state.wait().signature(), 7);
  ASSERT_EQ(state.wait().missing_size(), WaitRecord::kMostMissing);
  EXPECT_EQ(state.wait().missing(3), 7);
}

}  // namespace
}  // namespace moe
