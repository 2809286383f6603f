#include "comm/watch/watch_connection.h"

#include <gtest/gtest.h>

#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/write.hpp>
#include <chrono>
#include <cstring>
#include <memory>
#include <string>

namespace moe {
namespace {

using Tcp = asio::ip::tcp;

// A connection, and the bare socket at its other end.
class WatchConnectionTest : public testing::Test {
 protected:
  WatchConnectionTest() : other_(context_) {
    Tcp::acceptor acceptor(context_, {asio::ip::address_v4::loopback(), 0});
    Tcp::socket socket(context_);
    socket.connect(acceptor.local_endpoint());
    other_ = acceptor.accept();
    connection_ = std::make_shared<WatchConnection>(
        std::move(socket), WatchConnection::End::kRank);
    connection_->Start(
        {.on_message = [this](const WatchMessage& m) { last_ = m; },
         .on_closed = [this] { is_closed_ = true; }});
  }
  ~WatchConnectionTest() override { connection_->Close(); }

  void RunUntilClosed() {
    const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    while (!is_closed_ && std::chrono::steady_clock::now() < end)
      context_.run_one_for(std::chrono::milliseconds(100));
    EXPECT_TRUE(is_closed_);
  }

  asio::io_context context_;
  Tcp::socket other_;
  std::shared_ptr<WatchConnection> connection_;
  WatchMessage last_;
  bool is_closed_ = false;
};

// A rank that was stopped goes on: it has much to say to a hub that is gone,
// but must hear what that said before.
TEST_F(WatchConnectionTest, HearsLastWordsThoughNobodyHearsIt) {
  WatchMessage alarm;
  alarm.mutable_alarm()->set_text("here I am");
  connection_->Send(alarm);
  WatchMessage leave;
  leave.mutable_leave()->set_exit_code(71);
  const std::string body = leave.SerializeAsString();
  const auto size = static_cast<uint32_t>(body.size());
  std::string frame(sizeof(size), '\0');
  std::memcpy(frame.data(), &size, sizeof(size));
  asio::write(other_, asio::buffer(frame + body));
  other_.close();  // what was sent to it is unread: a reset
  for (int i = 0; i < 3; ++i) {
    connection_->Send(alarm);
    context_.poll_one();
  }
  RunUntilClosed();
  EXPECT_TRUE(last_.has_leave());
}

TEST_F(WatchConnectionTest, IsClosedOnceAndThenSilent) {
  other_.close();
  RunUntilClosed();
  is_closed_ = false;
  WatchMessage message;
  message.mutable_goodbye();
  connection_->Send(message);
  context_.poll();
  EXPECT_FALSE(is_closed_);
}

}  // namespace
}  // namespace moe
