// The hub of another rank, which acts where rank 0's does not.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "tests/comm/watch_hub_fixture.h"

namespace moe {
namespace {

using testing::HasSubstr;
using testing::StartsWith;
using WatchDeputyTest = WatchHubTest;

TEST_F(WatchDeputyTest, ActsWhereRankZeroDoesNot) {
  Open(/*is_deputy=*/true);
  SendAlarm(2, WatchAlarm::TIME_LIMIT);
  Settle();
  EXPECT_EQ(inquiries_, 0) << "rank 0 has its time";
  RunUntil([&] { return left_.has_value(); });
  EXPECT_EQ(left_, 71);
}

TEST_F(WatchDeputyTest, ActsAtOnceWhenRankZeroIsLost) {
  Open(/*is_deputy=*/true);
  links_[0]->Close();
  RunUntil([&] { return report_.has_value(); });
  EXPECT_THAT(report_->cause, StartsWith("rank 0 "));
}

// A rank is lost and then rank 0, or rank 0 in its inquiry: mpirun leaves two
// seconds.
TEST_F(WatchDeputyTest, WaitsNoLongerWhenRankZeroIsLostToo) {
  Open(/*is_deputy=*/true);
  SendAlarm(0, WatchAlarm::CRASHED);
  Settle();
  hub_->NoteInquiryOfOther();
  links_[0]->Close();
  Settle(std::chrono::milliseconds(1500));
  ASSERT_TRUE(report_.has_value()) << "less than the patience for rank 0";
  EXPECT_THAT(report_->cause, HasSubstr("crashed"));
}

TEST_F(WatchDeputyTest, HoldsBackWhenRankZeroActs) {
  Open(/*is_deputy=*/true);
  SendAlarm(2, WatchAlarm::TIME_LIMIT);
  hub_->NoteInquiryOfOther();
  Settle(std::chrono::seconds(4));
  EXPECT_EQ(inquiries_, 0);
  EXPECT_FALSE(report_.has_value());
}

TEST_F(WatchDeputyTest, ActsAgainWhenRankZeroHasFoundNothing) {
  Open(/*is_deputy=*/true);
  hub_->NoteInquiryOfOther();
  hub_->NoteCallOffOfOther();
  SendAlarm(2, WatchAlarm::TIME_LIMIT);
  RunUntil([&] { return left_.has_value(); });
}

// There must not be two reports.
TEST_F(WatchDeputyTest, StepsBackWhenRankZeroIsLateButActs) {
  Open(/*is_deputy=*/true);
  silent_ = 0;
  SendAlarm(2, WatchAlarm::TIME_LIMIT);
  RunUntil([&] { return inquiries_ > 0; });
  hub_->NoteInquiryOfOther();
  Settle(std::chrono::seconds(4));
  EXPECT_FALSE(report_.has_value());
  links_[0]->Close();
  RunUntil([&] { return report_.has_value(); });
  EXPECT_THAT(report_->cause, StartsWith("rank 0 ")) << "and it still works";
}

// What ranks answered the first time is as old as all else.
TEST_F(WatchDeputyTest, AsksAndHearsAllAnewOnceItHasSteppedBack) {
  Open(/*is_deputy=*/true);
  silent_ = 0;
  SendAlarm(2, WatchAlarm::TIME_LIMIT);
  RunUntil([&] { return inquiries_ == 3; });
  Settle();
  hub_->NoteInquiryOfOther();
  WatchMessage news;
  *news.mutable_state() = State(2, Phase::kCombine);
  Send(2, news);
  Settle();
  silent_ = 2;
  links_[0]->Close();
  RunUntil([&] { return report_.has_value(); });
  EXPECT_THAT(report_->text, HasSubstr("rank 1: step 2, experts\n"));
  EXPECT_THAT(report_->text,
              HasSubstr("rank 2: step 3, combine; does not answer\n"));
}

}  // namespace
}  // namespace moe
