#include "comm/watch/watch_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "comm/watch/watch_state.h"

namespace moe {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;
using Link = WatchedRank::Link;

// Four ranks that wait for each other in the same all-reduce.
class WatchReportTest : public testing::Test {
 protected:
  WatchReportTest() {
    for (int rank = 0; rank < 4; ++rank) {
      roster_.push_back({.host = rank < 2 ? "a" : "b",
                         .pid = 100 + rank,
                         .kernel = rank < 2 ? "k" : "l",
                         .processes = 1});
      WatchedRank watched;
      watched.link = Link::kOpen;
      watched.answered = true;
      watched.age = absl::Milliseconds(300);
      ranks_.push_back(watched);
      SetWait(rank, "world", 7, /*missing=*/(rank + 1) % 4);
    }
  }

  WatchedRank& Of(int rank) { return ranks_[static_cast<size_t>(rank)]; }
  static Position At(int layer) {
    return {.step = 12, .layer = layer, .phase = Phase::kCombine};
  }
  void SetBusy(int rank) {
    Activity activity;
    activity.position = At(3);
    Of(rank).state = ToRankState(activity, absl::Seconds(601));
  }
  void SetWait(int rank, const std::string& group, int64_t sequence,
               int missing, int layer = 3) {
    Activity activity;
    activity.position = At(layer);
    activity.waits = true;
    activity.wait.operation = "all-reduce";
    activity.wait.group = group;
    activity.wait.sequence = sequence;
    activity.wait.signature = 1;
    activity.wait.position = activity.position;
    activity.wait.num_missing = 1;
    activity.wait.missing[0].rank = missing;
    Of(rank).state = ToRankState(activity, absl::ZeroDuration());
  }
  void SetAlarm(int rank, WatchAlarm::Kind kind, const std::string& text = "",
                int exit_code = 0) {
    Of(rank).alarm.emplace();
    Of(rank).alarm->set_kind(kind);
    Of(rank).alarm->set_text(text);
    Of(rank).alarm->set_exit_code(exit_code);
  }
  LostRankReport Report() {
    return MakeLostRankReport(roster_, ranks_, absl::Seconds(600));
  }

  Roster roster_;
  std::vector<WatchedRank> ranks_;
};

TEST_F(WatchReportTest, NamesALostRankAndWhatAllOthersDid) {
  Of(2).link = Link::kLost;
  const LostRankReport report = Report();
  EXPECT_EQ(report.exit_code, 71);
  EXPECT_THAT(report.cause, StartsWith("rank 2 (pid 102 on host b) was lost"));
  EXPECT_THAT(report.cause,
              HasSubstr("0.3 s before it was in all-reduce 7 in "
                        "group world (step 12, layer 3, combine)"));
  EXPECT_THAT(report.cause, Not(HasSubstr("\n")));
  EXPECT_THAT(report.text, StartsWith(report.cause + "\n"));
  for (const char* line : {"rank 0:", "rank 1:", "rank 2: lost", "rank 3:"})
    EXPECT_THAT(report.text, HasSubstr(line));
}

TEST_F(WatchReportTest, NamesAllThatWereLost) {
  for (int rank : {1, 3}) Of(rank).link = Link::kLost;
  EXPECT_THAT(Report().cause, HasSubstr("rank 1 "));
  EXPECT_THAT(Report().cause, HasSubstr("so were ranks 3"));
}

TEST_F(WatchReportTest, PutsRanksThatDoTheSameOnALine) {
  for (int rank : {0, 1, 3}) SetWait(rank, "world", 7, /*missing=*/2);
  SetBusy(2);
  EXPECT_THAT(Report().text, HasSubstr("  rank 0-1,3: all-reduce 7"));
  EXPECT_THAT(Report().text, HasSubstr("  rank 2: step 12, layer 3, combine"));
}

TEST_F(WatchReportTest, NamesTheCrashThatALossFollowed) {
  Of(1).link = Link::kLost;
  SetAlarm(1, WatchAlarm::CRASHED, "SIGSEGV in moe::Foo()");
  Of(1).alarm->add_stack("moe::Foo()");
  const LostRankReport report = Report();
  EXPECT_EQ(report.exit_code, 70);
  EXPECT_THAT(report.cause, HasSubstr("crashed: SIGSEGV in moe::Foo()"));
  EXPECT_THAT(report.text, HasSubstr("the stack of rank 1:\n    moe::Foo()"));
}

TEST_F(WatchReportTest, PassesOnTheReasonAndTheCodeOfAFailure) {
  SetAlarm(3, WatchAlarm::FAILED, "no memory for a buffer", 69);
  EXPECT_EQ(Report().exit_code, 69);
  EXPECT_THAT(Report().cause,
              HasSubstr("rank 3 (pid 103 on host b) cannot go on: no memory"));
}

TEST_F(WatchReportTest, TakesRefusedMessagesForWhatFollowsFromALoss) {
  Of(2).link = Link::kLost;
  SetAlarm(1, WatchAlarm::FAILED, "moving messages: error", 71);
  EXPECT_THAT(Report().cause, StartsWith("rank 2 "));
}

TEST_F(WatchReportTest, SaysThatTheLauncherIsGoneRatherThanRanksWithIt) {
  SetAlarm(1, WatchAlarm::LAUNCHER_GONE);
  Of(3).link = Link::kLost;
  EXPECT_THAT(Report().cause, HasSubstr("has lost its launcher"));
  EXPECT_EQ(Report().exit_code, 71);
}

TEST_F(WatchReportTest, NamesTheRankInAnotherCollective) {
  SetWait(2, "world", 7, /*missing=*/3, /*layer=*/4);
  Of(2).state.mutable_wait()->set_signature(2);
  EXPECT_EQ(NumDifferent(ranks_, Of(2).state), 3);
  EXPECT_EQ(NumDifferent(ranks_, Of(0).state), 1);
  const LostRankReport report = Report();
  EXPECT_EQ(report.exit_code, 70);
  EXPECT_THAT(report.cause, StartsWith("rank 2 "));
  EXPECT_THAT(report.cause, HasSubstr("(step 12, layer 4, combine)"));
  EXPECT_THAT(report.cause, HasSubstr("(step 12, layer 3, combine)"));
}

TEST_F(WatchReportTest, SeesNoMismatchInOtherPlacesOrGroups) {
  SetWait(1, "world", 8, 2);
  SetWait(2, "expert", 7, 3);
  SetWait(3, "world", 7, 0);
  for (int rank : {1, 2}) Of(rank).state.mutable_wait()->set_signature(9);
  Of(3).state.mutable_wait()->set_first_rank(2);
  Of(3).state.mutable_wait()->set_signature(5);
  for (int rank = 0; rank < 4; ++rank)
    EXPECT_EQ(NumDifferent(ranks_, Of(rank).state), 0);
}

TEST_F(WatchReportTest, BlamesNoRankThatIsOnlyLateWithItsAnswer) {
  SetAlarm(0, WatchAlarm::TIME_LIMIT);
  Of(1).answered = false;  // rank 0 has looked: it runs
  EXPECT_THAT(Report().cause, Not(HasSubstr("does not answer")));
  Of(3).answered = false;
  RankState::Process& process = *Of(2).state.add_process();
  process.set_rank(3);
  process.set_state("T");
  EXPECT_THAT(Report().cause, StartsWith("rank 3 "));
  Of(2).state.clear_process();
  Of(2).answered = false;  // a whole host that does not answer
  EXPECT_THAT(Report().cause, StartsWith("rank 2 "));
  EXPECT_THAT(Report().cause, HasSubstr("nothing is known"));
}

// Rank 1 alone sees rank 0's process, whatever the names of the others' hosts.
TEST_F(WatchReportTest, TakesNoRankOfAnotherMachineOfEqualNameForAWitness) {
  SetAlarm(2, WatchAlarm::TIME_LIMIT);
  for (Member& member : roster_) member.host = "a";
  Of(0).answered = false;
  EXPECT_THAT(Report().cause, Not(HasSubstr("does not answer")));
  Of(1).answered = false;
  EXPECT_THAT(Report().cause, StartsWith("rank 0 "));
  EXPECT_THAT(Report().cause, HasSubstr("does not answer"));
}

TEST_F(WatchReportTest, SaysWhatTheSystemKnowsOfASilentRank) {
  SetAlarm(0, WatchAlarm::TIME_LIMIT);
  Of(3).answered = false;
  RankState::Process& process = *Of(2).state.add_process();
  process.set_rank(3);
  for (const auto& [letter, text] :
       {std::pair("T", "stopped"), std::pair("D", "kernel"),
        std::pair("", "has ended"), std::pair("X", "state X")}) {
    process.set_state(letter);
    EXPECT_THAT(Report().cause, StartsWith("rank 3 "));
    EXPECT_THAT(Report().cause, HasSubstr("does not answer"));
    EXPECT_THAT(Report().cause, HasSubstr(text));
  }
  EXPECT_EQ(Report().exit_code, 71);
}

TEST_F(WatchReportTest, NamesTheRankThatKeepsTheOthersWaiting) {
  SetAlarm(0, WatchAlarm::TIME_LIMIT);
  SetWait(0, "world", 7, 1);
  SetWait(1, "expert", 30, 2);  // waits for 2 elsewhere
  SetBusy(2);
  Of(2).state.add_stack("moe::GroupedLinearForward()");
  const LostRankReport report = Report();
  EXPECT_THAT(report.cause, StartsWith("rank 2 "));
  EXPECT_THAT(report.cause,
              HasSubstr("in step 12, layer 3, combine for 601.0 s"));
  EXPECT_THAT(report.cause,
              HasSubstr("parallel.collective_timeout_seconds (600)"));
  EXPECT_THAT(report.text, HasSubstr("moe::GroupedLinearForward()"));
}

TEST_F(WatchReportTest, FindsTheRankThatMissesABarrier) {
  SetAlarm(0, WatchAlarm::TIME_LIMIT);
  for (int rank : {0, 1, 3}) Of(rank).state.mutable_wait()->clear_missing();
  SetBusy(2);
  EXPECT_THAT(Report().cause, StartsWith("rank 2 "));
}

TEST_F(WatchReportTest, EndsWhereRanksWaitInACircle) {
  SetAlarm(1, WatchAlarm::TIME_LIMIT);
  for (int rank = 0; rank < 4; ++rank)
    SetWait(rank, "world", 7, (rank + 1) % 4);
  EXPECT_THAT(Report().cause, HasSubstr("which does not end"));
}

TEST_F(WatchReportTest, StaysReadableForAThousandRanks) {
  roster_.resize(1000, {.host = "a", .pid = 1});
  ranks_.resize(1000, ranks_[0]);
  for (int rank = 0; rank < 1000; ++rank) SetWait(rank, "world", 7, rank);
  Of(17).link = Link::kLost;
  const std::string text = Report().text;
  EXPECT_LT(std::count(text.begin(), text.end(), '\n'), 80);
  EXPECT_THAT(text, HasSubstr("lines more"));
}

}  // namespace
}  // namespace moe
