#include "comm/watch/watch_strangers.h"

#include <algorithm>
#include <utility>

namespace moe {

using Clock = std::chrono::steady_clock;

WatchStrangers::WatchStrangers(asio::io_context& context, size_t most,
                               std::chrono::milliseconds patience)
    : most_(most), patience_(patience), timer_(context) {}

WatchStrangers::~WatchStrangers() {
  while (!strangers_.empty()) SendFirstAway();
}

void WatchStrangers::Add(std::shared_ptr<WatchConnection> connection) {
  strangers_.push_back({std::move(connection), Clock::now() + patience_});
  if (strangers_.size() > most_) SendFirstAway();
  if (strangers_.size() == 1) AwaitFirst();
}

void WatchStrangers::Remove(
    const std::shared_ptr<WatchConnection>& connection) {
  const auto at = std::find_if(strangers_.begin(), strangers_.end(),
                               [&](const Stranger& stranger) {
                                 return stranger.connection == connection;
                               });
  if (at != strangers_.end()) strangers_.erase(at);
  if (strangers_.empty()) timer_.cancel();
}

void WatchStrangers::SendFirstAway() {
  strangers_.front().connection->Close();
  strangers_.pop_front();
}

void WatchStrangers::AwaitFirst() {
  timer_.expires_at(strangers_.front().until);
  timer_.async_wait([this](const asio::error_code& cancelled) {
    if (cancelled) return;
    while (!strangers_.empty() && strangers_.front().until <= Clock::now())
      SendFirstAway();
    if (!strangers_.empty()) AwaitFirst();
  });
}

}  // namespace moe
