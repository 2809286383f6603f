#include "comm/watch_link.h"

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"

namespace moe {
namespace {

constexpr std::chrono::seconds kConnecting(3);

}  // namespace

WatchLink::WatchLink(asio::io_context& context, int rank, Handlers handlers)
    : context_(context),
      rank_(rank),
      handlers_(std::move(handlers)),
      timer_(context) {}

void WatchLink::Connect(const HubAddress& address) {
  address_ = address;
  TryHost(0);
}

void WatchLink::TryHost(size_t index) {
  if (index >= address_.hosts.size()) {
    handlers_.on_connected(absl::UnavailableError(failures_));
    return;
  }
  const std::string& host = address_.hosts[index];
  const auto fail = [this, index, host](const std::string& why) {
    absl::StrAppend(&failures_, failures_.empty() ? "" : ", ", host, " port ",
                    address_.port, ": ", why);
    TryHost(index + 1);
  };
  asio::error_code error;
  const asio::ip::address address = asio::ip::make_address(host, error);
  if (error) {
    fail(error.message());
    return;
  }
  socket_ = std::make_unique<asio::ip::tcp::socket>(context_);
  timer_.expires_after(kConnecting);
  timer_.async_wait([this](const asio::error_code& cancelled) {
    asio::error_code ignored;
    if (!cancelled && socket_ != nullptr) socket_->close(ignored);
  });
  socket_->async_connect(
      {address, static_cast<unsigned short>(address_.port)},
      [this, fail](const asio::error_code& failed) {
        timer_.cancel();
        if (failed) {
          fail(failed.message());
          return;
        }
        connection_ = std::make_shared<WatchConnection>(
            std::move(*socket_), WatchConnection::End::kRank);
        socket_ = nullptr;
        connection_->Start(
            {.on_message = [this](const WatchMessage& m) { OnMessage(m); },
             .on_closed =
                 [this] {
                   connection_ = nullptr;
                   if (!hub_has_left_) handlers_.on_lost();
                 }});
        WatchMessage message;
        message.mutable_hello()->set_rank(rank_);
        message.mutable_hello()->set_nonce(address_.nonce);
        connection_->Send(message);
        handlers_.on_connected(absl::OkStatus());
      });
}

void WatchLink::OnMessage(const WatchMessage& message) {
  if (message.has_goodbye()) {
    hub_has_left_ = true;
    return;
  }
  handlers_.on_message(message);
}

void WatchLink::Send(const WatchMessage& message) {
  if (connection_ != nullptr) connection_->Send(message);
}

void WatchLink::Close() {
  if (connection_ != nullptr) connection_->Close();
  connection_ = nullptr;
}

}  // namespace moe
