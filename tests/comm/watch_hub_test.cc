#include "comm/watch_hub.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <asio/connect.hpp>
#include <asio/write.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "comm/watch_link.h"

namespace moe {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

// A hub and links of three ranks to it, in one process and thread.
class WatchHubTest : public testing::Test {
 protected:
  // The hub of rank 0, or of rank 1 where `is_deputy`.
  void Open(bool is_deputy = false, const Roster& roster = OneHost()) {
    absl::StatusOr<std::unique_ptr<WatchHub>> hub = WatchHub::Listen(
        context_, {.rank = is_deputy ? 1 : 0,
                   .roster = roster,
                   .collective_timeout = absl::Seconds(5),
                   .is_deputy = is_deputy,
                   .report = [this](const LostRankReport& r) { report_ = r; },
                   .leave = [this](int code) { left_ = code; }});
    ASSERT_TRUE(hub.ok()) << hub.status();
    hub_ = *std::move(hub);
    for (int rank = 0; rank < 3; ++rank) Connect(rank, hub_->address());
    RunUntil([&] { return connected_ == 3; });
    Settle();  // until the hub has read who they are
  }
  static Roster OneHost() { return {{"a", 1}, {"a", 2}, {"a", 3}}; }

  void Connect(int rank, const HubAddress& address) {
    links_.push_back(std::make_unique<WatchLink>(
        context_, rank,
        WatchLink::Handlers{
            .on_connected =
                [this](const absl::Status& status) {
                  EXPECT_TRUE(status.ok()) << status;
                  ++connected_;
                },
            .on_message = [this,
                           rank](const WatchMessage& m) { OnMessage(rank, m); },
            .on_lost = [this] { ++lost_; }}));
    links_.back()->Connect(address);
  }

  void OnMessage(int rank, const WatchMessage& message) {
    if (message.has_leave()) leaves_.push_back(message.leave().exit_code());
    if (!message.has_inquiry()) return;
    ++inquiries_;
    if (rank == silent_) return;
    WatchMessage answer;
    *answer.mutable_answer() = State(rank, "answering");
    Send(rank, answer);
  }
  static RankState State(int rank, const std::string& stage) {
    RankState state;
    state.mutable_position()->set_step(rank + 1);
    state.mutable_position()->set_stage(stage);
    return state;
  }
  void Send(int rank, const WatchMessage& message) {
    links_[static_cast<size_t>(rank)]->Send(message);
  }
  void SendAlarm(int rank, WatchAlarm::Kind kind) {
    WatchMessage message;
    message.mutable_alarm()->set_kind(kind);
    Send(rank, message);
  }
  void SendWait(int rank, uint32_t signature) {
    WatchMessage message;
    *message.mutable_state() = State(rank, "dispatch");
    WatchWait& wait = *message.mutable_state()->mutable_wait();
    wait.set_group("expert");
    wait.set_sequence(9);
    wait.set_signature(signature);
    Send(rank, message);
  }

  template <typename Predicate>
  void RunUntil(Predicate is_done) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    while (!is_done() && std::chrono::steady_clock::now() < end)
      context_.run_one_for(std::chrono::milliseconds(100));
    EXPECT_TRUE(is_done());
  }
  // Handles what is on its way.
  void Settle(std::chrono::milliseconds time = std::chrono::milliseconds(300)) {
    context_.run_for(time);
  }

  asio::io_context context_;
  std::unique_ptr<WatchHub> hub_;
  std::vector<std::unique_ptr<WatchLink>> links_;
  int connected_ = 0;
  int inquiries_ = 0;
  int lost_ = 0;
  int silent_ = -1;
  std::vector<int> leaves_;
  std::optional<LostRankReport> report_;
  std::optional<int> left_;
};

TEST_F(WatchHubTest, ReportsARankWhoseConnectionCloses) {
  Open();
  links_[2]->Close();
  RunUntil([&] { return left_.has_value(); });
  ASSERT_TRUE(report_.has_value());
  EXPECT_THAT(report_->cause, StartsWith("rank 2 (pid 3 on host a) was lost"));
  EXPECT_THAT(report_->text, HasSubstr("rank 0: step 1, answering"));
  EXPECT_EQ(left_, 71);
  EXPECT_EQ(leaves_, std::vector<int>{71})
      << "rank 0, the hub's, leaves itself";
}

TEST_F(WatchHubTest, DoesNotReplaceAnAnswerByOlderNews) {
  Open(/*is_deputy=*/false, {{"a", 1}, {"b", 2}, {"a", 3}});
  silent_ = 1;
  SendAlarm(2, WatchAlarm::TIME_LIMIT);
  RunUntil([&] { return inquiries_ == 3; });
  Settle();
  WatchMessage state;
  *state.mutable_state() = State(2, "old");
  Send(2, state);
  RunUntil([&] { return left_.has_value(); });
  EXPECT_THAT(report_->text, HasSubstr("rank 2: step 3, answering"));
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
  Open(/*is_deputy=*/false, {{"a", 1}, {"a", 2}, {"b", 3}});
  silent_ = 2;
  for (int i = 0; i < 100; ++i) {
    WatchMessage message;
    *message.mutable_state() = State(2, absl::StrCat("news ", i));
    Send(2, message);
  }
  SendAlarm(0, WatchAlarm::TIME_LIMIT);
  RunUntil([&] { return report_.has_value(); });
  EXPECT_THAT(report_->text, HasSubstr("rank 2: step 3, news 0;"));
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
  Open(/*is_deputy=*/false, {{"a", 1}, {"b", 2}, {"a", 3}});
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

TEST_F(WatchHubTest, ThinksNothingOfSilence) {
  Open();
  silent_ = 1;
  Settle(std::chrono::seconds(2));
  EXPECT_EQ(inquiries_, 0);
  EXPECT_FALSE(report_.has_value());
}

TEST_F(WatchHubTest, ADeputyActsWhereRankZeroDoesNot) {
  Open(/*is_deputy=*/true);
  SendAlarm(2, WatchAlarm::TIME_LIMIT);
  Settle();
  EXPECT_EQ(inquiries_, 0) << "rank 0 has its time";
  RunUntil([&] { return left_.has_value(); });
  EXPECT_EQ(left_, 71);
}

TEST_F(WatchHubTest, ADeputyActsAtOnceWhenRankZeroIsLost) {
  Open(/*is_deputy=*/true);
  links_[0]->Close();
  RunUntil([&] { return report_.has_value(); });
  EXPECT_THAT(report_->cause, StartsWith("rank 0 "));
}

// A rank is lost and then rank 0, or rank 0 in its inquiry: mpirun leaves two
// seconds.
TEST_F(WatchHubTest, ADeputyWaitsNoLongerWhenRankZeroIsLostToo) {
  Open(/*is_deputy=*/true);
  SendAlarm(0, WatchAlarm::CRASHED);
  Settle();
  hub_->NoteInquiryOfOther();
  links_[0]->Close();
  Settle(std::chrono::milliseconds(1500));
  ASSERT_TRUE(report_.has_value()) << "less than the patience for rank 0";
  EXPECT_THAT(report_->cause, HasSubstr("crashed"));
}

TEST_F(WatchHubTest, ADeputyHoldsBackWhenRankZeroActs) {
  Open(/*is_deputy=*/true);
  SendAlarm(2, WatchAlarm::TIME_LIMIT);
  hub_->NoteInquiryOfOther();
  Settle(std::chrono::seconds(4));
  EXPECT_EQ(inquiries_, 0);
  EXPECT_FALSE(report_.has_value());
}

// There must not be two reports.
TEST_F(WatchHubTest, ADeputyStepsBackWhenRankZeroIsLateButActs) {
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
TEST_F(WatchHubTest, ADeputyThatStepsBackAsksAndHearsAllAnew) {
  Open(/*is_deputy=*/true);
  silent_ = 0;
  SendAlarm(2, WatchAlarm::TIME_LIMIT);
  RunUntil([&] { return inquiries_ == 3; });
  Settle();
  hub_->NoteInquiryOfOther();
  WatchMessage news;
  *news.mutable_state() = State(2, "news");
  Send(2, news);
  Settle();
  silent_ = 2;
  links_[0]->Close();
  RunUntil([&] { return report_.has_value(); });
  EXPECT_THAT(report_->text, HasSubstr("rank 1: step 2, answering\n"));
  EXPECT_THAT(report_->text,
              HasSubstr("rank 2: step 3, news; does not answer\n"));
}

// A hub that was stopped goes on, when another rank has told in its place.
TEST_F(WatchHubTest, LeavesWithoutAWordWhenAnotherHasTold) {
  Open();
  SendAlarm(1, WatchAlarm::TIME_LIMIT);
  WatchMessage message;
  message.mutable_leave()->set_exit_code(71);
  Send(2, message);
  links_[2]->Close();
  Settle(std::chrono::seconds(2));
  EXPECT_EQ(left_, 71);
  EXPECT_FALSE(report_.has_value());
}

// Who does not belong to the job is sent away, and changes nothing.
TEST_F(WatchHubTest, HeedsNoStranger) {
  Open();
  HubAddress address = hub_->address();
  ++address.nonce;
  Connect(1, address);
  Settle();
  EXPECT_EQ(lost_, 1);
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
  Open(/*is_deputy=*/false, {{"a", 1}, {"a", 2}, {"b", 3}});
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

TEST(HubAddress, SurvivesItsText) {
  const HubAddress address = {
      .hosts = {"127.0.0.1", "fe80::1%eth0"}, .port = 4711, .nonce = ~0ull};
  const absl::StatusOr<HubAddress> read = ParseHubAddress(ToText(address));
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->hosts, address.hosts);
  EXPECT_EQ(read->port, address.port);
  EXPECT_EQ(read->nonce, address.nonce);
  for (const char* text : {"", "x 1 a", "1 x a", "1 2"})
    EXPECT_FALSE(ParseHubAddress(text).ok()) << text;
}

}  // namespace
}  // namespace moe
