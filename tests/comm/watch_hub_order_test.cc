// A hub that acts where those before it do not.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "tests/comm/watch_hub_fixture.h"

namespace moe {
namespace {

using testing::HasSubstr;
using testing::StartsWith;
using WatchHubOrderTest = WatchHubTest;

TEST_F(WatchHubOrderTest, ActsWhereTheHubBeforeItDoesNot) {
  Open(/*rank=*/1);
  SendAlarm(2, WatchAlarm::TIME_LIMIT);
  Settle();
  EXPECT_EQ(inquiries_, 0) << "rank 0 has its time";
  RunUntil([&] { return left_.has_value(); });
  EXPECT_EQ(left_, 71);
}

TEST_F(WatchHubOrderTest, ActsAtOnceWhenThatIsLost) {
  Open(/*rank=*/1);
  links_[0]->Close();
  RunUntil([&] { return report_.has_value(); });
  EXPECT_THAT(report_->cause, StartsWith("rank 0 "));
}

// A rank is lost and then rank 0, or rank 0 in its inquiry: mpirun leaves two
// seconds.
TEST_F(WatchHubOrderTest, WaitsNoLongerWhenThatIsLostToo) {
  Open(/*rank=*/1);
  SendAlarm(0, WatchAlarm::CRASHED);
  Settle();
  hub_->HoldBack();
  links_[0]->Close();
  Settle(std::chrono::milliseconds(1500));
  ASSERT_TRUE(report_.has_value()) << "less than the patience for rank 0";
  EXPECT_THAT(report_->cause, HasSubstr("crashed"));
}

TEST_F(WatchHubOrderTest, HoldsBackWhenThatActs) {
  Open(/*rank=*/1);
  SendAlarm(2, WatchAlarm::TIME_LIMIT);
  Settle(std::chrono::seconds(2));
  hub_->HoldBack();
  Settle(std::chrono::seconds(3));
  EXPECT_EQ(inquiries_, 0);
  EXPECT_FALSE(report_.has_value());
}

TEST_F(WatchHubOrderTest, ActsWhenThatHasBegunAndDoesNotEnd) {
  Open(/*rank=*/1);
  SendAlarm(2, WatchAlarm::TIME_LIMIT);
  Settle();
  hub_->HoldBack();
  RunUntil([&] { return left_.has_value(); });
  EXPECT_EQ(left_, 71);
}

TEST_F(WatchHubOrderTest, MindsNoInquiryWithoutACauseOfItsOwn) {
  Open(/*rank=*/1);
  hub_->HoldBack();
  Settle(std::chrono::seconds(4));
  EXPECT_EQ(inquiries_, 0);
}

// Each of those before it has its time.
TEST_F(WatchHubOrderTest, ActsThirdWhereTwoDoNot) {
  Open(/*rank=*/2);
  SendAlarm(2, WatchAlarm::TIME_LIMIT);
  Settle(std::chrono::seconds(6));
  EXPECT_EQ(inquiries_, 0);
  RunUntil([&] { return left_.has_value(); });
}

TEST_F(WatchHubOrderTest, NamesBothWhereThoseBeforeItAreLost) {
  Open(/*rank=*/2);
  for (size_t rank : {0, 1}) links_[rank]->Close();
  Settle(std::chrono::milliseconds(1500));
  ASSERT_TRUE(report_.has_value()) << "less than the patience for one";
  EXPECT_THAT(report_->cause, StartsWith("rank 0 "));
  EXPECT_THAT(report_->cause, HasSubstr("so were ranks 1"));
  EXPECT_THAT(report_->text, HasSubstr("rank 2: step 3, experts"));
}

// There must not be two reports.
TEST_F(WatchHubOrderTest, StepsBackWhenThatIsLateButActs) {
  Open(/*rank=*/1);
  silent_ = 0;
  SendAlarm(2, WatchAlarm::TIME_LIMIT);
  RunUntil([&] { return inquiries_ > 0; });
  hub_->HoldBack();
  Settle(std::chrono::seconds(4));
  EXPECT_FALSE(report_.has_value());
  links_[0]->Close();
  RunUntil([&] { return report_.has_value(); });
  EXPECT_THAT(report_->cause, StartsWith("rank 0 ")) << "and it still works";
}

// What ranks answered the first time is as old as all else.
TEST_F(WatchHubOrderTest, AsksAndHearsAllAnewOnceItHasSteppedBack) {
  Open(/*rank=*/1);
  silent_ = 0;
  SendAlarm(2, WatchAlarm::TIME_LIMIT);
  RunUntil([&] { return inquiries_ == 3; });
  Settle();
  hub_->HoldBack();
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
