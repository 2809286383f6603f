#include "comm/watch/watch_hub.h"

#include <sys/random.h>

#include <algorithm>
#include <asio/ip/v6_only.hpp>
#include <utility>

#include "comm/base/file_limit.h"
#include "comm/base/monotonic_time.h"
#include "comm/base/status_macros.h"

namespace moe {
namespace {

using std::chrono::milliseconds;
using Link = WatchedRank::Link;
using Tcp = asio::ip::tcp;

// From the first event to the inquiry: a launcher that is gone shows itself.
constexpr milliseconds kGathering(100);
constexpr milliseconds kAcceptAgain(500);
// How long ranks have to answer. mpirun kills the survivors of a lost rank two
// seconds after it; else there is time, and the machine may be busy.
constexpr milliseconds kAnswering(1000);
constexpr milliseconds kAnsweringWithoutLoss(3000);
// How long a hub waits for each of those before it: it has concluded by then,
// so that one hub tells.
constexpr milliseconds kPatience(3500);
static_assert(kPatience > kAnsweringWithoutLoss);
// From being told to leave to leaving: the others' messages are on their way.
constexpr milliseconds kFarewell(200);
// Who connects and says nothing, beside all the ranks at once.
constexpr size_t kMostStrangers = 64;

bool IsOneHost(const Roster& roster) {
  return std::all_of(roster.begin(), roster.end(), [&](const Member& member) {
    return ShareNetwork(member, roster[0]);
  });
}

absl::Status Listening(const asio::error_code& error) {
  return OpenError("listening for the ranks' watchdogs", error);
}

}  // namespace

absl::StatusOr<std::unique_ptr<WatchHub>> WatchHub::Listen(
    asio::io_context& context, Options options) {
  std::unique_ptr<WatchHub> hub(new WatchHub(context, std::move(options)));
  RETURN_IF_ERROR(hub->Open());
  hub->Accept();
  return hub;
}

WatchHub::WatchHub(asio::io_context& context, Options options)
    : context_(context),
      options_(std::move(options)),
      acceptor_(context),
      timer_(context),
      accept_timer_(context),
      strangers_(context, options_.roster.size() + kMostStrangers,
                 options_.stranger_patience),
      peers_(options_.roster.size()),
      watched_(options_.roster.size()) {}

WatchHub::~WatchHub() {
  for (const Peer& peer : peers_)
    if (peer.connection != nullptr) peer.connection->Close();
}

absl::Status WatchHub::Open() {
  // A connection a rank: more than the usual limit in a large job.
  AllowOpenFiles(1024 + 2 * options_.roster.size());
  if (getrandom(&address_.nonce, sizeof(address_.nonce), 0) !=
      static_cast<ssize_t>(sizeof(address_.nonce)))
    return absl::UnavailableError("the system has no random number");
  const bool one_host = IsOneHost(options_.roster);
  const asio::ip::address any =
      one_host ? asio::ip::address(asio::ip::address_v4::loopback())
               : asio::ip::address(asio::ip::address_v6::any());
  asio::error_code error;
  acceptor_.open(any.is_v4() ? Tcp::v4() : Tcp::v6(), error);
  asio::ip::address bound = any;
  if (error && !one_host) {  // a machine without IPv6
    bound = asio::ip::address_v4::any();
    acceptor_.open(Tcp::v4(), error);
  }
  if (error) return Listening(error);
  if (bound.is_v6()) acceptor_.set_option(asio::ip::v6_only(false), error);
  acceptor_.bind({bound, 0}, error);
  if (error) return Listening(error);
  acceptor_.listen(asio::socket_base::max_listen_connections, error);
  if (error) return Listening(error);
  address_.port = acceptor_.local_endpoint(error).port();
  if (error) return Listening(error);
  address_.hosts = OwnHosts(/*is_alone=*/one_host);
  return absl::OkStatus();
}

void WatchHub::Accept() {
  acceptor_.async_accept(
      [this](const asio::error_code& error, Tcp::socket socket) {
        // This is gone, or does not accept any more.
        if (error == asio::error::operation_aborted) return;
        if (!error) {
          Greet(std::make_shared<WatchConnection>(std::move(socket),
                                                  WatchConnection::End::kHub));
          Accept();
          return;
        }
        // No descriptor is left, as a rule: it would fail again at once.
        accept_timer_.expires_after(kAcceptAgain);
        accept_timer_.async_wait([this](const asio::error_code& cancelled) {
          if (!cancelled) Accept();
        });
      });
}

// Nobody is known before the hello; who is not of this job is sent away.
void WatchHub::Greet(const ConnectionPtr& connection) {
  const std::weak_ptr<WatchConnection> weak = connection;
  const auto on_hello = [this, weak](const WatchMessage& message) {
    const ConnectionPtr self = weak.lock();
    if (self == nullptr) return;
    strangers_.Remove(self);
    const int rank = message.hello().rank();
    if (message.hello().nonce() != address_.nonce || rank < 0 ||
        rank >= static_cast<int>(peers_.size())) {
      self->Close();
      return;
    }
    peers_[static_cast<size_t>(rank)].connection = self;
    watched_[static_cast<size_t>(rank)].link = Link::kOpen;
    self->SetHandlers(
        {.on_message = [this,
                        rank](const WatchMessage& m) { OnMessage(rank, m); },
         .on_closed = [this, rank] { OnClosed(rank); }});
    WatchMessage welcome;
    welcome.mutable_welcome();
    self->Send(welcome);
  };
  connection->Start({.on_message = on_hello, .on_closed = [this, weak] {
                       strangers_.Remove(weak.lock());
                     }});
  strangers_.Add(connection);
}

void WatchHub::OnMessage(int rank, const WatchMessage& message) {
  if (phase_ == Phase::kGone) return;
  WatchedRank& watched = watched_[static_cast<size_t>(rank)];
  switch (message.kind_case()) {
    case WatchMessage::kState:
      // An answer says more, as long as it is new.
      if (phase_ != Phase::kInquiring || !watched.answered)
        OnState(rank, message.state());
      break;
    case WatchMessage::kAnswer:
      watched.answered = true;
      OnState(rank, message.answer());
      ConcludeIfAllAnswered();
      break;
    case WatchMessage::kAlarm:
      // A crash says more than the failures that follow from it.
      if (!watched.alarm.has_value() ||
          message.alarm().kind() == WatchAlarm::CRASHED)
        watched.alarm = message.alarm();
      Suspect();
      break;
    case WatchMessage::kGoodbye:
      watched.link = Link::kLeft;
      break;
    default:
      break;
  }
}

void WatchHub::OnState(int rank, const RankState& state) {
  watched_[static_cast<size_t>(rank)].state = state;
  peers_[static_cast<size_t>(rank)].heard_at = MonotonicTime();
  if (phase_ == Phase::kWatching && NumDifferent(watched_, state) > 0)
    Suspect();
}

void WatchHub::OnClosed(int rank) {
  WatchedRank& watched = watched_[static_cast<size_t>(rank)];
  if (phase_ == Phase::kGone || watched.link == Link::kLeft) return;
  watched.link = Link::kLost;
  Suspect();
  if (phase_ == Phase::kInquiring) AwaitAnswers();  // there is less time now
  ConcludeIfAllAnswered();
}

// Something is wrong. What else is will be known in a moment, and hubs before
// this one may act meanwhile.
void WatchHub::Suspect() {
  const auto num_before = std::count_if(
      options_.hubs_before.begin(), options_.hubs_before.end(), [&](int rank) {
        const Link link = watched_[static_cast<size_t>(rank)].link;
        return link != Link::kLost && link != Link::kLeft;
      });
  if (phase_ == Phase::kWatching || phase_ == Phase::kSuspecting)
    InquireAfter(kGathering + num_before * kPatience);
}

void WatchHub::HoldBack() {
  if (phase_ != Phase::kSuspecting && phase_ != Phase::kInquiring) return;
  phase_ = Phase::kWatching;
  InquireAfter(kPatience);
}

// Sooner if that is decided already.
void WatchHub::InquireAfter(milliseconds patience) {
  const auto at = asio::steady_timer::clock_type::now() + patience;
  if (phase_ == Phase::kSuspecting && timer_.expiry() <= at) return;
  phase_ = Phase::kSuspecting;
  timer_.expires_at(at);
  timer_.async_wait([this](const asio::error_code& error) {
    if (!error && phase_ == Phase::kSuspecting) Inquire();
  });
}

void WatchHub::Inquire() {
  phase_ = Phase::kInquiring;
  for (WatchedRank& watched : watched_) watched.answered = false;
  WatchMessage message;
  message.mutable_inquiry();
  Broadcast(message);
  AwaitAnswers();
}

void WatchHub::AwaitAnswers() {
  const bool is_ending = std::any_of(
      watched_.begin(), watched_.end(), [](const WatchedRank& watched) {
        return watched.link == Link::kLost ||
               (watched.alarm.has_value() &&
                watched.alarm->kind() != WatchAlarm::TIME_LIMIT);
      });
  timer_.expires_after(is_ending ? kAnswering : kAnsweringWithoutLoss);
  timer_.async_wait([this](const asio::error_code& error) {
    if (!error) Conclude();
  });
}

void WatchHub::ConcludeIfAllAnswered() {
  if (phase_ != Phase::kInquiring) return;
  for (const WatchedRank& watched : watched_)
    if (watched.link == Link::kOpen && !watched.answered) return;
  Conclude();
}

// A rank that is lost or has raised an alarm is a reason to end the job. That
// ranks seemed to be in different collectives is one only if they still do, now
// that they were asked.
bool WatchHub::HasCause() const {
  return std::any_of(
      watched_.begin(), watched_.end(), [&](const WatchedRank& watched) {
        return watched.link == Link::kLost || watched.alarm.has_value() ||
               NumDifferent(watched_, watched.state) > 0;
      });
}

void WatchHub::Conclude() {
  if (phase_ != Phase::kInquiring) return;
  if (HasCause()) {
    End();
    return;
  }
  phase_ = Phase::kWatching;
  timer_.cancel();
}

void WatchHub::End() {
  phase_ = Phase::kConcluded;
  const absl::Duration now = MonotonicTime();
  for (size_t rank = 0; rank < peers_.size(); ++rank)
    watched_[rank].age = now - peers_[rank].heard_at;
  const LostRankReport report = MakeLostRankReport(options_.roster, watched_,
                                                   options_.collective_timeout);
  options_.report(report);
  WatchMessage message;
  message.mutable_leave()->set_exit_code(report.exit_code);
  Broadcast(message);
  timer_.expires_after(kFarewell);
  timer_.async_wait(
      [this, code = report.exit_code](const asio::error_code& error) {
        if (!error) options_.leave(code);
      });
}

void WatchHub::Broadcast(const WatchMessage& message) {
  // This rank last: what it is told to do may end the process.
  const Peer& self = peers_[static_cast<size_t>(options_.rank)];
  for (const Peer& peer : peers_) {
    if (peer.connection != nullptr && &peer != &self)
      peer.connection->Send(message);
  }
  if (self.connection != nullptr && !message.has_leave())
    self.connection->Send(message);
}

void WatchHub::SayGoodbye() {
  phase_ = Phase::kGone;
  WatchMessage message;
  message.mutable_goodbye();
  Broadcast(message);
  asio::error_code ignored;
  acceptor_.close(ignored);
  accept_timer_.cancel();
  timer_.cancel();
}

}  // namespace moe
