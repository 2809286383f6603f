#include "comm/watch/watch_connection.h"

#include <netinet/tcp.h>
#include <sys/socket.h>

#include <asio/read.hpp>
#include <asio/write.hpp>
#include <cstring>
#include <utility>

namespace moe {
namespace {

// Far more than a message of ours; keeps a stranger from taking memory.
constexpr uint32_t kMaxMessageBytes = uint32_t{1} << 20;

// A process that ends closes its connections at once. A host that is lost says
// nothing: it is noticed when it has confirmed nothing for this time.
constexpr int kSilentSeconds = 60;

void NoticeLostHosts(int descriptor, WatchConnection::End end) {
  const int on = 1;
  const int idle_seconds = kSilentSeconds / 4;
  const int tries = 3;
  const unsigned int limit_ms = kSilentSeconds * 1000;
  setsockopt(descriptor, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
  setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPIDLE, &idle_seconds,
             sizeof(idle_seconds));
  setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPINTVL, &idle_seconds,
             sizeof(idle_seconds));
  setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPCNT, &tries, sizeof(tries));
  // The system also gives up after this time where it may not send because
  // the other process, stopped perhaps, does not read.
  if (end == WatchConnection::End::kHub)
    setsockopt(descriptor, IPPROTO_TCP, TCP_USER_TIMEOUT, &limit_ms,
               sizeof(limit_ms));
  setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

}  // namespace

WatchConnection::WatchConnection(asio::ip::tcp::socket socket, End end)
    : socket_(std::move(socket)) {
  NoticeLostHosts(socket_.native_handle(), end);
}

void WatchConnection::Start(Handlers handlers) {
  handlers_ = std::move(handlers);
  ReadSize();
}

void WatchConnection::ReadSize() {
  asio::async_read(
      socket_, asio::buffer(&size_, sizeof(size_)),
      [self = shared_from_this()](const asio::error_code& error, size_t) {
        if (error || self->size_ > kMaxMessageBytes) {
          self->Fail();
        } else {
          self->ReadBody();
        }
      });
}

void WatchConnection::ReadBody() {
  body_.resize(size_);
  asio::async_read(
      socket_, asio::buffer(body_),
      [self = shared_from_this()](const asio::error_code& error, size_t) {
        WatchMessage message;
        if (error || !message.ParseFromString(self->body_)) {
          self->Fail();
          return;
        }
        const auto on_message = self->handlers_.on_message;
        if (on_message) on_message(message);
        if (self->socket_.is_open()) self->ReadSize();
      });
}

void WatchConnection::Send(const WatchMessage& message) {
  if (!socket_.is_open() || is_unheard_) return;
  // News of an old state is worth nothing to one who does not read it.
  if (message.has_state() && !idle()) return;
  const std::string body = message.SerializeAsString();
  const auto size = static_cast<uint32_t>(body.size());
  std::string frame(sizeof(size), '\0');
  std::memcpy(frame.data(), &size, sizeof(size));
  outgoing_.push_back(frame + body);
  if (outgoing_.size() == 1) WriteNext();
}

void WatchConnection::WriteNext() {
  asio::async_write(
      socket_, asio::buffer(outgoing_.front()),
      [self = shared_from_this()](const asio::error_code& error, size_t) {
        if (!self->socket_.is_open()) return;  // closed meanwhile
        if (error) {
          // Who reads finds the end too, behind the other's last words.
          self->is_unheard_ = true;
          self->outgoing_.clear();
          return;
        }
        self->outgoing_.pop_front();
        if (!self->outgoing_.empty()) self->WriteNext();
      });
}

// What was read before the other end closed has been handled: a rank's last
// words come before its end.
void WatchConnection::Fail() {
  if (!socket_.is_open()) return;
  const std::function<void()> on_closed = std::move(handlers_.on_closed);
  Close();
  if (on_closed) on_closed();
}

void WatchConnection::Close() {
  handlers_ = {};
  outgoing_.clear();
  asio::error_code ignored;
  socket_.close(ignored);
}

}  // namespace moe
