#ifndef COMM_WATCH_WATCH_STRANGERS_H_
#define COMM_WATCH_WATCH_STRANGERS_H_

#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>
#include <chrono>
#include <deque>
#include <memory>

#include "comm/watch/watch_connection.h"

namespace moe {

// A hub's connections of which it is not known yet whose they are. A rank of
// the job says it at once; who does not within `patience` is sent away, and if
// they are more than `most`, who has been there longest. On the thread that
// runs the io_context.
class WatchStrangers {
 public:
  WatchStrangers(asio::io_context& context, size_t most,
                 std::chrono::milliseconds patience);
  ~WatchStrangers();

  void Add(std::shared_ptr<WatchConnection> connection);
  // It is known now, or gone; if it is no stranger nothing happens.
  void Remove(const std::shared_ptr<WatchConnection>& connection);

 private:
  struct Stranger {
    std::shared_ptr<WatchConnection> connection;
    std::chrono::steady_clock::time_point until;
  };

  void SendFirstAway();
  void AwaitFirst();

  const size_t most_;
  const std::chrono::milliseconds patience_;
  asio::steady_timer timer_;        // runs while there is a stranger
  std::deque<Stranger> strangers_;  // in the order of `until`
};

}  // namespace moe

#endif  // COMM_WATCH_WATCH_STRANGERS_H_
