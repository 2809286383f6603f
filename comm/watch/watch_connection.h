#ifndef COMM_WATCH_WATCH_CONNECTION_H_
#define COMM_WATCH_WATCH_CONNECTION_H_

#include <asio/ip/tcp.hpp>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "comm/watch/watch_message.pb.h"

namespace moe {

// A TCP connection that carries WatchMessages, each behind its size in four
// bytes. Used on the one thread that runs its io_context.
class WatchConnection : public std::enable_shared_from_this<WatchConnection> {
 public:
  struct Handlers {
    std::function<void(const WatchMessage&)> on_message;
    // Once: the other end is gone, or has sent what is no message.
    std::function<void()> on_closed;
  };

  // At a hub's end a host that is lost is noticed after a minute. Not at a
  // rank's, where news that a slow hub does not read would look the same.
  enum class End { kHub, kRank };
  WatchConnection(asio::ip::tcp::socket socket, End end);

  // From now on handlers are called, until Close.
  void Start(Handlers handlers);
  // Others from now on; a handler may do so.
  void SetHandlers(Handlers handlers) { handlers_ = std::move(handlers); }
  void Send(const WatchMessage& message);
  // Whether all that was sent has left this process.
  bool idle() const { return outgoing_.empty(); }
  // Calls no handler.
  void Close();

 private:
  void ReadSize();
  void ReadBody();
  void WriteNext();
  void Fail();

  asio::ip::tcp::socket socket_;
  Handlers handlers_;
  uint32_t size_ = 0;
  std::string body_;
  std::deque<std::string> outgoing_;
  bool is_unheard_ = false;  // the other end takes nothing any more
};

}  // namespace moe

#endif  // COMM_WATCH_WATCH_CONNECTION_H_
