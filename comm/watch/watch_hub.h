#ifndef COMM_WATCH_WATCH_HUB_H_
#define COMM_WATCH_WATCH_HUB_H_

#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "comm/mpi/roster.h"
#include "comm/watch/hub_address.h"
#include "comm/watch/watch_connection.h"
#include "comm/watch/watch_report.h"
#include "comm/watch/watch_strangers.h"

namespace moe {

// The side of the watchdog that hears all ranks and decides; see watchdog.h.
// All on the thread that runs the io_context.
class WatchHub {
 public:
  struct Options {
    int rank = 0;  // the one it lives in
    Roster roster;
    absl::Duration collective_timeout;
    // The ranks whose hubs decide before this one does.
    std::vector<int> hubs_before = {};
    // Says why the job ends. Then all ranks are told to leave, and `leave` is
    // called with the exit code: it does not return.
    std::function<void(const LostRankReport&)> report;
    std::function<void(int exit_code)> leave;
    // How long who connects may say nothing.
    std::chrono::milliseconds stranger_patience = std::chrono::seconds(10);
  };
  // Unavailable, ResourceExhausted: the system does not let it listen.
  static absl::StatusOr<std::unique_ptr<WatchHub>> Listen(
      asio::io_context& context, Options options);
  ~WatchHub();

  HubAddress address() const { return address_; }
  // A hub before this one has begun to inquire: it gets its time.
  void HoldBack();
  // This rank leaves in good order: so does the hub.
  void SayGoodbye();

 private:
  using ConnectionPtr = std::shared_ptr<WatchConnection>;
  struct Peer {
    ConnectionPtr connection;
    absl::Duration heard_at;  // MonotonicTime
  };

  WatchHub(asio::io_context& context, Options options);
  absl::Status Open();
  void Accept();
  void Greet(const ConnectionPtr& connection);
  void OnMessage(int rank, const WatchMessage& message);
  void OnState(int rank, const RankState& state);
  void OnClosed(int rank);

  void Suspect();
  void InquireAfter(std::chrono::milliseconds patience);
  void Inquire();
  void AwaitAnswers();
  void ConcludeIfAllAnswered();
  bool HasCause() const;
  void Conclude();
  void End();
  void Broadcast(const WatchMessage& message);

  asio::io_context& context_;
  const Options options_;
  HubAddress address_;
  asio::ip::tcp::acceptor acceptor_;
  asio::steady_timer timer_;
  asio::steady_timer accept_timer_;
  WatchStrangers strangers_;
  // By rank.
  std::vector<Peer> peers_;
  std::vector<WatchedRank> watched_;
  enum class Phase { kWatching, kSuspecting, kInquiring, kConcluded, kGone };
  Phase phase_ = Phase::kWatching;
};

}  // namespace moe

#endif  // COMM_WATCH_WATCH_HUB_H_
