#include "comm/watch/watch_state.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

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

}  // namespace
}  // namespace moe
