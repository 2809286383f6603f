#include "comm/watch/watch_link.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "comm/base/file_limit.h"

namespace moe {

WatchLink::WatchLink(asio::io_context& context, int rank, Handlers handlers,
                     Patience patience)
    : context_(context),
      rank_(rank),
      handlers_(std::move(handlers)),
      patience_(patience),
      timer_(context) {}

void WatchLink::Connect(const HubAddress& address) {
  address_ = address;
  TryHost(0);
}

void WatchLink::TryHost(size_t index) {
  host_ = index;
  if (index >= address_.hosts.size()) {
    handlers_.on_connected(absl::UnavailableError(
        failures_.empty() ? "its host has no address that others reach"
                          : failures_));
    return;
  }
  asio::error_code error;
  const asio::ip::address host =
      asio::ip::make_address(address_.hosts[index], error);
  if (error) {
    GiveUpHost(error.message());
    return;
  }
  BeginLimit(patience_.reach);
  socket_ = std::make_unique<asio::ip::tcp::socket>(context_);
  socket_->async_connect({host, static_cast<unsigned short>(address_.port)},
                         [this, index](const asio::error_code& failed) {
                           if (index != host_) return;  // too late
                           if (failed) {
                             GiveUpHost(OpenErrorText(failed));
                           } else {
                             SayHello();
                           }
                         });
}

// A timer that has expired can no longer be cancelled: its handler comes even
// when another limit has begun.
void WatchLink::BeginLimit(std::chrono::milliseconds limit) {
  timer_.expires_after(limit);
  timer_.async_wait(
      [this, number = ++num_limits_](const asio::error_code& cancelled) {
        if (!cancelled && number == num_limits_)
          GiveUpHost("no answer in time");
      });
}

void WatchLink::EndLimit() {
  ++num_limits_;
  timer_.cancel();
}

void WatchLink::GiveUpHost(const std::string& why) {
  absl::StrAppend(&failures_, failures_.empty() ? "" : ", ",
                  address_.hosts[host_], " port ", address_.port, ": ", why);
  EndLimit();
  socket_ = nullptr;
  Close();
  TryHost(host_ + 1);
}

// Somebody listens there; if it is the hub, it knows the nonce.
void WatchLink::SayHello() {
  connection_ = std::make_shared<WatchConnection>(std::move(*socket_),
                                                  WatchConnection::End::kRank);
  socket_ = nullptr;
  BeginLimit(patience_.welcome);
  connection_->Start(
      {.on_message = [this](const WatchMessage& m) { OnMessage(m); },
       .on_closed = [this] { OnClosed(); }});
  WatchMessage message;
  message.mutable_hello()->set_rank(rank_);
  message.mutable_hello()->set_nonce(address_.nonce);
  connection_->Send(message);
}

void WatchLink::OnMessage(const WatchMessage& message) {
  if (message.has_welcome() && !is_welcome_) {
    is_welcome_ = true;
    EndLimit();
    handlers_.on_connected(absl::OkStatus());
  } else if (message.has_goodbye()) {
    hub_has_left_ = true;
  } else if (is_welcome_) {
    handlers_.on_message(message);
  }
}

void WatchLink::OnClosed() {
  connection_ = nullptr;
  if (!is_welcome_) {
    GiveUpHost("no hub of this job");
  } else if (!hub_has_left_) {
    handlers_.on_lost();
  }
}

void WatchLink::Send(const WatchMessage& message) {
  if (is_open()) connection_->Send(message);
}

void WatchLink::Close() {
  if (connection_ != nullptr) connection_->Close();
  connection_ = nullptr;
}

}  // namespace moe
