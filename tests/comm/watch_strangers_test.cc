#include "comm/watch/watch_strangers.h"

#include <gtest/gtest.h>

#include <asio/ip/tcp.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <vector>

#include "comm/watch/watch_hub.h"
#include "comm/watch/watch_link.h"

namespace moe {
namespace {

using std::chrono::milliseconds;
using Tcp = asio::ip::tcp;

// A hub of one rank, and who connects to it without a word.
class WatchStrangersTest : public testing::Test {
 protected:
  void Open(milliseconds patience) {
    absl::StatusOr<std::unique_ptr<WatchHub>> hub =
        WatchHub::Listen(context_, {.roster = {{"a", 1}},
                                    .collective_timeout = absl::Seconds(5),
                                    .report = [](const LostRankReport&) {},
                                    .leave = [](int) {},
                                    .stranger_patience = patience});
    ASSERT_TRUE(hub.ok()) << hub.status();
    hub_ = *std::move(hub);
  }
  void ConnectStranger() {
    Tcp::socket socket(context_);
    socket.connect({asio::ip::make_address("127.0.0.1"),
                    static_cast<unsigned short>(hub_->address().port)});
    socket.non_blocking(true);
    strangers_.push_back(std::move(socket));
  }
  bool IsSentAway(size_t stranger) {
    char byte = 0;
    asio::error_code error;
    strangers_[stranger].read_some(asio::buffer(&byte, 1), error);
    return error && error != asio::error::would_block;
  }
  // A rank of the job.
  void ConnectRank() {
    connected_.reset();
    links_.push_back(std::make_unique<WatchLink>(
        context_, /*rank=*/0,
        WatchLink::Handlers{
            .on_connected = [this](const absl::Status& s) { connected_ = s; },
            .on_message = [](const WatchMessage&) {},
            .on_lost = [this] { is_lost_ = true; }}));
    links_.back()->Connect(hub_->address());
    RunUntil([this] { return connected_.has_value(); });
    EXPECT_TRUE(connected_->ok()) << *connected_;
  }
  template <typename Predicate>
  void RunUntil(Predicate is_done) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    while (!is_done() && std::chrono::steady_clock::now() < end)
      context_.run_one_for(milliseconds(100));
    EXPECT_TRUE(is_done());
  }

  asio::io_context context_;
  std::unique_ptr<WatchHub> hub_;
  std::vector<Tcp::socket> strangers_;
  std::vector<std::unique_ptr<WatchLink>> links_;
  std::optional<absl::Status> connected_;
  bool is_lost_ = false;
};

TEST_F(WatchStrangersTest, AreSentAwayAfterAWhile) {
  Open(milliseconds(50));
  ConnectRank();
  ConnectStranger();
  RunUntil([this] { return IsSentAway(0); });
  ConnectStranger();
  RunUntil([this] { return IsSentAway(1); });
  EXPECT_FALSE(is_lost_) << "who is known stays";
}

TEST_F(WatchStrangersTest, AreNoMoreThanSo) {
  Open(std::chrono::hours(1));
  // 64, and one in the place of the rank that has yet to come.
  for (int i = 0; i < 66; ++i) ConnectStranger();
  RunUntil([this] { return IsSentAway(0); });
  EXPECT_FALSE(IsSentAway(1));
  ConnectRank();
  EXPECT_TRUE(IsSentAway(1)) << "a rank is let in whoever else waits";
  EXPECT_FALSE(IsSentAway(2));
}

TEST_F(WatchStrangersTest, AreForgottenWhenTheyLeave) {
  Open(std::chrono::hours(1));
  ConnectStranger();
  ConnectStranger();
  ConnectRank();  // who came before it has been let in by then
  strangers_[1].close();
  context_.poll();
  for (int i = 0; i < 63; ++i) ConnectStranger();
  ConnectRank();
  EXPECT_FALSE(IsSentAway(0));
}

}  // namespace
}  // namespace moe
