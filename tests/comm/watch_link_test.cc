#include "comm/watch/watch_link.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <asio/ip/tcp.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/watch/watch_hub.h"

namespace moe {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;
using Tcp = asio::ip::tcp;
using Clock = std::chrono::steady_clock;

// A hub, and the one link to it.
class WatchLinkTest : public testing::Test {
 protected:
  WatchLinkTest() {
    absl::StatusOr<std::unique_ptr<WatchHub>> hub =
        WatchHub::Listen(context_, {.roster = {{"a", 1}},
                                    .collective_timeout = absl::Seconds(5),
                                    .report = [](const LostRankReport&) {},
                                    .leave = [](int) {}});
    EXPECT_TRUE(hub.ok()) << hub.status();
    hub_ = *std::move(hub);
  }

  void Connect(const std::vector<std::string>& hosts, milliseconds patience) {
    link_ = std::make_unique<WatchLink>(
        context_, /*rank=*/0,
        WatchLink::Handlers{
            .on_connected = [this](const absl::Status& s) { connected_ = s; },
            .on_message = [](const WatchMessage&) {},
            .on_lost = [] {}},
        WatchLink::Patience{.reach = patience, .welcome = 10 * patience});
    HubAddress address = hub_->address();
    address.hosts = hosts;
    link_->Connect(address);
  }
  void RunUntilDecided() {
    const auto end = Clock::now() + std::chrono::minutes(1);
    while (!connected_.has_value() && Clock::now() < end)
      context_.run_one_for(milliseconds(100));
    ASSERT_TRUE(connected_.has_value());
  }

  asio::io_context context_;
  std::unique_ptr<WatchHub> hub_;
  std::unique_ptr<WatchLink> link_;
  std::optional<absl::Status> connected_;
};

// Nobody listens at 127.0.0.2. That, and that the time for it is over, become
// known at once: the time of the next host has begun when the first one's timer
// is heard of.
TEST_F(WatchLinkTest, TakesNoTimerOfOneHostForThatOfTheNext) {
  const milliseconds patience(50);
  Connect({"127.0.0.2", "127.0.0.1"}, patience);
  const auto over = Clock::now() + patience;
  while (Clock::now() < over) {
  }
  RunUntilDecided();
  EXPECT_TRUE(connected_->ok()) << *connected_;
}

// Somebody listens on the hub's port of another host.
TEST_F(WatchLinkTest, TakesNobodyElseForTheHub) {
  const auto port = static_cast<unsigned short>(hub_->address().port);
  Tcp::acceptor other(context_, {asio::ip::make_address("127.0.0.2"), port});
  Connect({"127.0.0.2", "127.0.0.1"}, milliseconds(1000));
  Tcp::socket accepted = other.accept();
  accepted.close();
  RunUntilDecided();
  EXPECT_TRUE(connected_->ok()) << *connected_;
  EXPECT_TRUE(link_->is_open());
}

TEST_F(WatchLinkTest, WaitsForNobodyWhoSaysNothing) {
  const auto port = static_cast<unsigned short>(hub_->address().port);
  Tcp::acceptor other(context_, {asio::ip::make_address("127.0.0.2"), port});
  Connect({"127.0.0.2"}, milliseconds(20));
  RunUntilDecided();
  EXPECT_TRUE(absl::IsUnavailable(*connected_));
  EXPECT_THAT(std::string(connected_->message()), HasSubstr("127.0.0.2 port"));
  EXPECT_FALSE(link_->is_open());
}

TEST_F(WatchLinkTest, SaysThatThereIsNoAddressToTry) {
  Connect({}, milliseconds(1000));
  ASSERT_TRUE(connected_.has_value());
  EXPECT_THAT(std::string(connected_->message()), HasSubstr("no address"));
}

}  // namespace
}  // namespace moe
