#include "comm/watch/watchdog.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <future>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "comm/activity.h"
#include "comm/base/exit_code.h"
#include "comm/base/file_limit.h"
#include "comm/base/quiet_thread.h"
#include "comm/base/running_time.h"
#include "comm/base/stack_trace.h"
#include "comm/base/status_macros.h"
#include "comm/mpi/await.h"
#include "comm/mpi/refused_memory.h"
#include "comm/mpi/roster.h"
#include "comm/watch/watch_hub.h"
#include "comm/watch/watch_link.h"
#include "comm/watch/watch_meeting.h"
#include "comm/watch/watch_state.h"

namespace moe {
namespace {

using std::chrono::milliseconds;

constexpr char kOpening[] = "opening what its connections need";

constexpr milliseconds kTick(500);
// How long the main thread may take to show its stack.
constexpr absl::Duration kStackPatience = absl::Milliseconds(200);
// What a crash's alarm may take to be on its way.
constexpr milliseconds kCrashAlarm(150);
// From an alarm to leaving where no hub has acted, and from the loss of the
// last hub to the same.
constexpr std::chrono::seconds kHubsPatience(20);
constexpr std::chrono::seconds kWithoutHubs(3);
// From a failure of this rank to being told to leave.
constexpr absl::Duration kFailurePatience = absl::Seconds(10);
// A rank's own limit, should its watchdog fail to end the job.
constexpr absl::Duration kAwaitMargin = absl::Seconds(60);

}  // namespace

// A rank's side, and the hub if it has one.
class Watchdog::Rank {
 public:
  // Collective.
  static absl::StatusOr<std::unique_ptr<Rank>> Open(const MpiRuntime& runtime,
                                                    const Roster& roster,
                                                    Options options);
  ~Rank();

  // Collective.
  absl::Status Connect(std::unique_ptr<StartWatch> start_watch);
  [[noreturn]] void Fail(const absl::Status& status);

 private:
  Rank(int rank, const Roster& roster, Options options);
  // May throw a std::system_error.
  absl::Status OpenOwn();
  void Tick();
  void NoteActivity();
  void OnMessage(size_t hub, const WatchMessage& message);
  void Answer(size_t hub);
  void OnHubLost();
  void LeaveAfter(std::chrono::seconds patience);
  void AwaitCrash();
  void Alarm(WatchAlarm::Kind kind, const std::string& text = "",
             int exit_code = 0, const StackTrace& stack = {});
  void SendToHubs(const WatchMessage& message);
  void SayGoodbye();

  const int rank_;
  const Roster roster_;
  const std::vector<int> hub_ranks_;
  const size_t own_hub_;  // among them; their number if this rank has none
  const Options options_;
  const pid_t parent_;
  asio::io_context context_;
  asio::steady_timer tick_timer_;
  // Until this rank ends although no hub has told it to.
  asio::steady_timer leaving_timer_;
  asio::posix::stream_descriptor crash_event_;
  std::unique_ptr<WatchHub> hub_;
  std::vector<std::unique_ptr<WatchLink>> links_;      // to the hubs in turn
  std::vector<std::promise<absl::Status>> connected_;  // so
  std::thread thread_;
  Activity activity_;     // at the last tick
  RunningTime time_;      // from tick to tick
  absl::Duration still_;  // since the activity last changed
  bool alarmed_ = false;
};

Watchdog::Rank::Rank(int rank, const Roster& roster, Options options)
    : rank_(rank),
      roster_(roster),
      hub_ranks_(HubRanks(roster)),
      own_hub_(static_cast<size_t>(
          std::find(hub_ranks_.begin(), hub_ranks_.end(), rank) -
          hub_ranks_.begin())),
      options_(std::move(options)),
      parent_(getppid()),
      tick_timer_(context_),
      leaving_timer_(context_),
      crash_event_(context_) {}

absl::Status Watchdog::Rank::OpenOwn() {
  const int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (event < 0)
    return OpenError(kOpening, std::error_code(errno, std::system_category()));
  crash_event_.assign(event);
  if (own_hub_ == hub_ranks_.size()) return absl::OkStatus();
  ASSIGN_OR_RETURN(
      hub_,
      WatchHub::Listen(
          context_,
          {.rank = rank_,
           .roster = roster_,
           .collective_timeout = options_.collective_timeout,
           .hubs_before = {hub_ranks_.data(), hub_ranks_.data() + own_hub_},
           .report = options_.report,
           .leave = [](int exit_code) { std::_Exit(exit_code); }}));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Watchdog::Rank>> Watchdog::Rank::Open(
    const MpiRuntime& runtime, const Roster& roster, Options options) {
  std::unique_ptr<Rank> rank;
  absl::Status status;
  try {  // asio's objects throw where the system has no file for them
    rank.reset(new Rank(runtime.rank(), roster, std::move(options)));
    status = rank->OpenOwn();
  } catch (const std::system_error& error) {
    status = OpenError(kOpening, error.code());
  }
  RETURN_IF_ERROR(AgreeOnWatchdog(status, roster, runtime.rank()));
  return rank;
}

absl::Status Watchdog::Rank::Connect(std::unique_ptr<StartWatch> start_watch) {
  ASSIGN_OR_RETURN(
      const std::vector<HubAddress> addresses,
      ShareHubAddresses(roster_, rank_,
                        hub_ != nullptr ? hub_->address() : HubAddress()));
  connected_.resize(addresses.size());
  for (size_t hub = 0; hub < addresses.size(); ++hub) {
    links_.push_back(std::make_unique<WatchLink>(
        context_, rank_,
        WatchLink::Handlers{
            .on_connected =
                [this, hub](const absl::Status& status) {
                  connected_[hub].set_value(status);
                },
            .on_message = [this,
                           hub](const WatchMessage& m) { OnMessage(hub, m); },
            .on_lost = [this] { OnHubLost(); }},
        // A hub that takes longer is named by the start watch.
        WatchLink::Patience{.welcome = absl::ToChronoMilliseconds(
                                options_.collective_timeout)}));
    links_.back()->Connect(addresses[hub]);
  }
  InstallStackTraces();
  AwaitCrash();
  InstallCrashHandlers(crash_event_.native_handle());
  Tick();
  absl::StatusOr<std::thread> thread = StartQuietThread("watchdog", [this] {
    GoOnWhereMemoryIsRefused();
    context_.run();
  });
  absl::Status status = thread.status();
  if (thread.ok()) {
    thread_ = *std::move(thread);
    for (std::promise<absl::Status>& hub : connected_)
      status.Update(Annotate(hub.get_future().get(), "cannot reach a hub"));
  }
  // From here on this watchdog sees who does not come.
  if (status.ok()) start_watch = nullptr;
  return AgreeOnWatchdog(status, roster_, rank_);
}

void Watchdog::Rank::Tick() {
  NoteActivity();
  if (!alarmed_ && getppid() != parent_) {
    Alarm(WatchAlarm::LAUNCHER_GONE);
  } else if (!alarmed_ && activity_.waits &&
             still_ > options_.collective_timeout) {
    Alarm(WatchAlarm::TIME_LIMIT);
  }
  WatchMessage message;
  *message.mutable_state() = ToRankState(activity_, still_);
  SendToHubs(message);
  tick_timer_.expires_after(kTick);
  tick_timer_.async_wait([this](const asio::error_code& error) {
    if (!error) Tick();
  });
}

void Watchdog::Rank::NoteActivity() {
  const absl::Duration passed = time_.Take();
  const int64_t changes_before = activity_.changes;
  activity_ = CurrentActivity();
  still_ = activity_.changes == changes_before ? still_ + passed
                                               : absl::ZeroDuration();
}

void Watchdog::Rank::OnMessage(size_t hub, const WatchMessage& message) {
  if (message.has_leave()) std::_Exit(message.leave().exit_code());
  if (!message.has_inquiry()) return;
  if (hub_ != nullptr && hub < own_hub_) hub_->HoldBack();
  Answer(hub);
}

void Watchdog::Rank::Answer(size_t hub) {
  if (!alarmed_ && getppid() != parent_) Alarm(WatchAlarm::LAUNCHER_GONE);
  NoteActivity();
  WatchMessage message;
  RankState& state = *message.mutable_answer();
  state = ToRankState(activity_, still_);
  AddStrangeProcesses(state, roster_, rank_);
  for (const std::string& frame : StackOfMainThread(kStackPatience))
    state.add_stack(frame);
  links_[hub]->Send(message);
}

void Watchdog::Rank::OnHubLost() {
  for (const std::unique_ptr<WatchLink>& link : links_)
    if (link->is_open()) return;
  LeaveAfter(kWithoutHubs);
}

void Watchdog::Rank::LeaveAfter(std::chrono::seconds patience) {
  leaving_timer_.expires_after(patience);
  leaving_timer_.async_wait([](const asio::error_code& error) {
    if (!error) std::_Exit(ExitCode(absl::UnavailableError("")));
  });
}

void Watchdog::Rank::AwaitCrash() {
  crash_event_.async_wait(
      asio::posix::stream_descriptor::wait_read,
      [this](const asio::error_code& error) {
        if (error) return;
        const Crash crash = TheCrash();
        if (crash.refused_memory) {
          Alarm(WatchAlarm::FAILED, RefusedMemoryText(),
                ExitCode(absl::ResourceExhaustedError("")), crash.stack);
          return CrashWasTold();  // the job's end comes as a message
        }
        const std::string where =
            crash.stack.empty() ? "" : absl::StrCat(" in ", crash.stack[0]);
        Alarm(WatchAlarm::CRASHED,
              absl::StrCat(SignalName(crash.signal), where), 0, crash.stack);
        // Who decides stays until it has, or the two seconds are over.
        if (rank_ == 0) return;
        leaving_timer_.expires_after(kCrashAlarm);
        leaving_timer_.async_wait(
            [](const asio::error_code&) { CrashWasTold(); });
      });
}

void Watchdog::Rank::Alarm(WatchAlarm::Kind kind, const std::string& text,
                           int exit_code, const StackTrace& stack) {
  alarmed_ = true;
  WatchMessage news;
  NoteActivity();
  *news.mutable_state() = ToRankState(activity_, still_);
  SendToHubs(news);
  WatchMessage message;
  WatchAlarm& alarm = *message.mutable_alarm();
  alarm.set_kind(kind);
  alarm.set_text(text);
  alarm.set_exit_code(exit_code);
  for (const std::string& frame : stack) alarm.add_stack(frame);
  SendToHubs(message);
  LeaveAfter(kHubsPatience);
}

void Watchdog::Rank::SendToHubs(const WatchMessage& message) {
  for (const std::unique_ptr<WatchLink>& link : links_) link->Send(message);
}

void Watchdog::Rank::Fail(const absl::Status& status) {
  const int exit_code = ExitCode(status);
  asio::post(context_, [this, status, exit_code] {
    Alarm(WatchAlarm::FAILED, std::string(status.message()), exit_code);
  });
  // The job's end comes as a message.
  absl::SleepFor(kFailurePatience);
  std::_Exit(exit_code);
}

void Watchdog::Rank::SayGoodbye() {
  WatchMessage message;
  message.mutable_goodbye();
  SendToHubs(message);
  if (hub_ != nullptr) hub_->SayGoodbye();
  tick_timer_.cancel();
  // A moment for what was sent to leave.
  tick_timer_.expires_after(milliseconds(20));
  tick_timer_.async_wait([this](const asio::error_code&) { context_.stop(); });
}

Watchdog::Rank::~Rank() {
  InstallCrashHandlers(-1);
  if (!thread_.joinable()) return;
  asio::post(context_, [this] { SayGoodbye(); });
  thread_.join();
}

absl::StatusOr<std::unique_ptr<Watchdog>> Watchdog::Start(
    const MpiRuntime& runtime, Options options,
    std::unique_ptr<StartWatch> start_watch) {
  const BlockingCall call("start of the watchdog", "world", /*first_rank=*/0);
  ASSIGN_OR_RETURN(const Roster roster, GatherRoster());
  const absl::Duration timeout = options.collective_timeout;
  ASSIGN_OR_RETURN(std::unique_ptr<Rank> rank,
                   Rank::Open(runtime, roster, std::move(options)));
  RETURN_IF_ERROR(rank->Connect(std::move(start_watch)));
  runtime.progress().await_options.timeout = timeout + kAwaitMargin;
  return std::unique_ptr<Watchdog>(new Watchdog(std::move(rank)));
}

Watchdog::Watchdog(std::unique_ptr<Rank> rank) : rank_(std::move(rank)) {}

Watchdog::~Watchdog() = default;

void Watchdog::Fail(const absl::Status& status) { rank_->Fail(status); }

}  // namespace moe
