#include "comm/watch/watch_hub.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <asio/ip/tcp.hpp>
#include <asio/write.hpp>
#include <chrono>
#include <string>
#include <vector>

#include "comm/watch/watch_link.h"
#include "tests/comm/watch_hub_fixture.h"

namespace moe {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

TEST_F(WatchHubTest, ReportsARankWhoseConnectionCloses) {
  Open();
  links_[2]->Close();
  RunUntil([&] { return left_.has_value(); });
  ASSERT_TRUE(report_.has_value());
  EXPECT_THAT(report_->cause, StartsWith("rank 2 (pid 3 on host a) was lost"));
  EXPECT_THAT(report_->text, HasSubstr("rank 0: step 1, experts"));
  EXPECT_EQ(left_, 71);
  EXPECT_EQ(leaves_, std::vector<int>{71})
      << "rank 0, the hub's, leaves itself";
}

TEST_F(WatchHubTest, DoesNotReplaceAnAnswerByOlderNews) {
  Open(/*rank=*/0, {On("k", 1), On("l", 2), On("k", 3)});
  silent_ = 1;
  SendAlarm(2, WatchAlarm::TIME_LIMIT);
  RunUntil([&] { return inquiries_ == 3; });
  Settle();
  WatchMessage state;
  *state.mutable_state() = State(2, Phase::kCombine);
  Send(2, state);
  RunUntil([&] { return left_.has_value(); });
  EXPECT_THAT(report_->text, HasSubstr("rank 2: step 3, experts"));
}

TEST_F(WatchHubTest, TakesACrashForTheCauseOfAFailure) {
  Open();
  SendAlarm(2, WatchAlarm::FAILED);
  SendAlarm(2, WatchAlarm::CRASHED);
  RunUntil([&] { return report_.has_value(); });
  EXPECT_THAT(report_->cause, HasSubstr("crashed"));
}

// They would pile up where nobody reads them.
TEST_F(WatchHubTest, SendsNoNewsBehindNewsThatHasNotLeft) {
  Open(/*rank=*/0, {On("k", 1), On("k", 2), On("l", 3)});
  silent_ = 2;
  for (int i = 0; i < 100; ++i) {
    WatchMessage message;
    *message.mutable_state() =
        State(2, i == 0 ? Phase::kCombine : Phase::kHead);
    Send(2, message);
  }
  SendAlarm(0, WatchAlarm::TIME_LIMIT);
  RunUntil([&] { return report_.has_value(); });
  EXPECT_THAT(report_->text, HasSubstr("rank 2: step 3, combine;"));
}

TEST_F(WatchHubTest, LetsARankLeaveInGoodOrder) {
  Open();
  WatchMessage message;
  message.mutable_goodbye();
  Send(2, message);
  Settle();
  links_[2]->Close();
  Settle();
  EXPECT_FALSE(report_.has_value());
  EXPECT_EQ(inquiries_, 0);
}

TEST_F(WatchHubTest, SaysGoodbyeItself) {
  Open();
  hub_->SayGoodbye();
  Settle();
  hub_ = nullptr;
  Settle();
  EXPECT_EQ(lost_, 0);
}

TEST_F(WatchHubTest, WaitsForAnswersButNotForEver) {
  Open(/*rank=*/0, {On("k", 1), On("l", 2), On("k", 3)});
  silent_ = 1;
  SendAlarm(2, WatchAlarm::TIME_LIMIT);
  RunUntil([&] { return left_.has_value(); });
  ASSERT_TRUE(report_.has_value());
  EXPECT_THAT(report_->cause, HasSubstr("rank 1 "));
  EXPECT_THAT(report_->cause, HasSubstr("does not answer"));
}

TEST_F(WatchHubTest, FindsRanksInDifferentCollectivesByItself) {
  Open();
  SendWait(0, 1);
  SendWait(1, 1);
  Settle();
  EXPECT_EQ(inquiries_, 0) << "they are in the same one";
  SendWait(2, 2);
  RunUntil([&] { return inquiries_ > 0; });
}

TEST_F(WatchHubTest, EndsTheJobWhereAnswersConfirmDifferentCollectives) {
  Open();
  answers_ = {{0, 1}, {1, 1}, {2, 2}};
  SendWait(0, 1);
  SendWait(2, 2);
  RunUntil([&] { return left_.has_value(); });
  EXPECT_EQ(left_, 70);
  EXPECT_THAT(report_->cause, HasSubstr("in another collective"));
}

TEST_F(WatchHubTest, WatchesAgainWhereAnswersConfirmNothing) {
  Open();
  SendWait(0, 1);
  SendWait(2, 2);
  RunUntil([&] { return inquiries_ == 3; });
  Settle();
  EXPECT_FALSE(report_.has_value());
  EXPECT_FALSE(left_.has_value());
  links_[1]->Close();
  RunUntil([&] { return left_.has_value(); });
  EXPECT_THAT(report_->cause, HasSubstr("rank 1 ")) << "and it still works";
}

// What is not answered holds as it was said last.
TEST_F(WatchHubTest, EndsTheJobWhereARankInAnotherCollectiveIsSilent) {
  Open();
  answers_ = {{0, 1}, {1, 1}};
  silent_ = 2;
  SendWait(2, 2);
  SendWait(0, 1);
  RunUntil([&] { return left_.has_value(); });
  EXPECT_THAT(report_->cause, HasSubstr("in another collective"));
}

TEST_F(WatchHubTest, ThinksNothingOfSilence) {
  Open();
  silent_ = 1;
  Settle(std::chrono::seconds(2));
  EXPECT_EQ(inquiries_, 0);
  EXPECT_FALSE(report_.has_value());
}

// Who does not belong to the job is sent away, and changes nothing.
TEST_F(WatchHubTest, HeedsNoStranger) {
  Open();
  HubAddress address = hub_->address();
  ++address.nonce;
  bool is_refused = false;
  WatchLink stranger(context_, 1,
                     {.on_connected =
                          [&](const absl::Status& status) {
                            is_refused = absl::IsUnavailable(status);
                          },
                      .on_message = nullptr,
                      .on_lost = nullptr});
  stranger.Connect(address);
  RunUntil([&] { return is_refused; });
  // Not even a message: a size beyond all limits.
  asio::ip::tcp::socket socket(context_);
  socket.connect({asio::ip::make_address(address.hosts[0]),
                  static_cast<unsigned short>(address.port)});
  const std::array<unsigned char, 8> garbage = {0xff, 0xff, 0xff, 0xff, 1};
  asio::write(socket, asio::buffer(garbage));
  Settle();
  char byte = 0;
  asio::error_code error;
  socket.non_blocking(true);
  socket.read_some(asio::buffer(&byte, 1), error);
  EXPECT_NE(error, asio::error::would_block) << "nobody waits for 4 GiB";
  EXPECT_EQ(inquiries_, 0);
  links_[2]->Close();
  RunUntil([&] { return report_.has_value(); });
  EXPECT_THAT(report_->cause, StartsWith("rank 2 ")) << "and it still works";
}

TEST_F(WatchHubTest, IsReachedOnlyFromItsHostWhereThereIsNoOther) {
  Open();
  EXPECT_EQ(hub_->address().hosts, std::vector<std::string>{"127.0.0.1"});
}

TEST_F(WatchHubTest, NamesAddressesThatOtherHostsReach) {
  Open(/*rank=*/0, {On("k", 1), On("k", 2), On("l", 3)});
  HubAddress address = hub_->address();
  ASSERT_EQ(address.hosts[0], "127.0.0.1");
  if (address.hosts.size() == 1)
    GTEST_SKIP() << "this machine has no address but 127.0.0.1";
  address.hosts.erase(address.hosts.begin());
  // One that does not answer first: the next is tried.
  address.hosts.insert(address.hosts.begin(), "no address");
  Connect(2, address);
  RunUntil([&] { return connected_ == 4; });
}

}  // namespace
}  // namespace moe
