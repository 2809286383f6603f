#ifndef COMM_WATCH_LINK_H_
#define COMM_WATCH_LINK_H_

#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "comm/watch_connection.h"
#include "comm/watch_hub.h"
#include "comm/watch_message.pb.h"

namespace moe {

// A rank's connection to a hub. On the thread that runs the io_context.
class WatchLink {
 public:
  struct Handlers {
    std::function<void(const absl::Status&)> on_connected;  // once
    std::function<void(const WatchMessage&)> on_message;
    std::function<void()> on_lost;  // without a goodbye
  };
  WatchLink(asio::io_context& context, int rank, Handlers handlers);
  ~WatchLink() { Close(); }

  // Tries the hub's hosts in turn, a few seconds each.
  void Connect(const HubAddress& address);
  void Send(const WatchMessage& message);
  // Connected, with all that was sent on its way.
  bool idle() const { return connection_ == nullptr || connection_->idle(); }
  bool is_open() const { return connection_ != nullptr; }
  void Close();

 private:
  void TryHost(size_t index);
  void OnMessage(const WatchMessage& message);

  asio::io_context& context_;
  const int rank_;
  const Handlers handlers_;
  HubAddress address_;
  asio::steady_timer timer_;
  std::unique_ptr<asio::ip::tcp::socket> socket_;  // while connecting
  std::string failures_;
  std::shared_ptr<WatchConnection> connection_;
  bool hub_has_left_ = false;
};

}  // namespace moe

#endif  // COMM_WATCH_LINK_H_
