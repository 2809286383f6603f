#ifndef COMM_WATCH_WATCH_LINK_H_
#define COMM_WATCH_WATCH_LINK_H_

#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/steady_timer.hpp>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "comm/watch/hub_address.h"
#include "comm/watch/watch_connection.h"
#include "comm/watch/watch_message.pb.h"

namespace moe {

// A rank's connection to a hub. On the thread that runs the io_context.
class WatchLink {
 public:
  struct Handlers {
    // Once: the hub has welcomed this rank. Unavailable: no host did.
    std::function<void(const absl::Status&)> on_connected;
    std::function<void(const WatchMessage&)> on_message;
    std::function<void()> on_lost;  // without a goodbye
  };
  // How long each host is given.
  struct Patience {
    std::chrono::milliseconds reach = std::chrono::seconds(3);
    // To welcome the rank, once reached: the one there may still be starting.
    std::chrono::milliseconds welcome = std::chrono::seconds(30);
  };
  WatchLink(asio::io_context& context, int rank, Handlers handlers,
            Patience patience);
  WatchLink(asio::io_context& context, int rank, Handlers handlers)
      : WatchLink(context, rank, std::move(handlers), Patience()) {}
  ~WatchLink() { Close(); }

  // Tries the hub's hosts in turn.
  void Connect(const HubAddress& address);
  // Nothing where the hub has not welcomed this rank, or is gone.
  void Send(const WatchMessage& message);
  bool is_open() const { return is_welcome_ && connection_ != nullptr; }
  void Close();

 private:
  void TryHost(size_t index);
  void BeginLimit(std::chrono::milliseconds limit);
  void EndLimit();
  void GiveUpHost(const std::string& why);
  void SayHello();
  void OnMessage(const WatchMessage& message);
  void OnClosed();

  asio::io_context& context_;
  const int rank_;
  const Handlers handlers_;
  const Patience patience_;
  HubAddress address_;
  // Of those hosts: the one that is tried, or was found.
  size_t host_ = 0;
  asio::steady_timer timer_;
  int num_limits_ = 0;                             // that have begun or ended
  std::unique_ptr<asio::ip::tcp::socket> socket_;  // while connecting
  std::string failures_;
  std::shared_ptr<WatchConnection> connection_;
  bool is_welcome_ = false;
  bool hub_has_left_ = false;
};

}  // namespace moe

#endif  // COMM_WATCH_WATCH_LINK_H_
