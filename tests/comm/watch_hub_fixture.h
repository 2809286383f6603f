#ifndef TESTS_COMM_WATCH_HUB_FIXTURE_H_
#define TESTS_COMM_WATCH_HUB_FIXTURE_H_

#include <gtest/gtest.h>

#include <asio/io_context.hpp>
#include <chrono>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "comm/phase.h"
#include "comm/watch/watch_hub.h"
#include "comm/watch/watch_link.h"
#include "comm/watch/watch_state.h"

namespace moe {

// A hub and links of three ranks to it, in one process and thread.
class WatchHubTest : public testing::Test {
 protected:
  // The hub of `rank`; those of the ranks before it decide first.
  void Open(int rank = 0, const Roster& roster = OneHost()) {
    std::vector<int> before(static_cast<size_t>(rank));
    std::iota(before.begin(), before.end(), 0);
    absl::StatusOr<std::unique_ptr<WatchHub>> hub = WatchHub::Listen(
        context_, {.rank = rank,
                   .roster = roster,
                   .collective_timeout = absl::Seconds(5),
                   .hubs_before = before,
                   .report = [this](const LostRankReport& r) { report_ = r; },
                   .leave = [this](int code) { left_ = code; }});
    ASSERT_TRUE(hub.ok()) << hub.status();
    hub_ = *std::move(hub);
    for (int i = 0; i < 3; ++i) Connect(i, hub_->address());
    RunUntil([&] { return connected_ == 3; });
  }
  static Member On(const std::string& kernel, int pid) {
    return {.host = "a",
            .pid = pid,
            .kernel = kernel,
            .network = 1,
            .processes = 1};
  }
  static Roster OneHost() { return {On("k", 1), On("k", 2), On("k", 3)}; }

  void Connect(int rank, const HubAddress& address) {
    links_.push_back(std::make_unique<WatchLink>(
        context_, rank,
        WatchLink::Handlers{
            .on_connected =
                [this](const absl::Status& status) {
                  EXPECT_TRUE(status.ok()) << status;
                  ++connected_;
                },
            .on_message = [this,
                           rank](const WatchMessage& m) { OnMessage(rank, m); },
            .on_lost = [this] { ++lost_; }}));
    links_.back()->Connect(address);
  }

  void OnMessage(int rank, const WatchMessage& message) {
    if (message.has_leave()) leaves_.push_back(message.leave().exit_code());
    if (!message.has_inquiry()) return;
    ++inquiries_;
    if (rank == silent_) return;
    WatchMessage answer;
    *answer.mutable_answer() = State(rank, Phase::kExperts);
    if (!answers_.empty())
      *answer.mutable_answer() = WaitState(rank, answers_[rank]);
    Send(rank, answer);
  }
  static RankState State(int rank, Phase phase) {
    Activity activity;
    activity.position = {.step = rank + 1, .phase = phase};
    return ToRankState(activity, absl::ZeroDuration());
  }
  void Send(int rank, const WatchMessage& message) {
    links_[static_cast<size_t>(rank)]->Send(message);
  }
  void SendAlarm(int rank, WatchAlarm::Kind kind) {
    WatchMessage message;
    message.mutable_alarm()->set_kind(kind);
    Send(rank, message);
  }
  // In that collective.
  static RankState WaitState(int rank, uint32_t signature) {
    RankState state = State(rank, Phase::kDispatch);
    WatchWait& wait = *state.mutable_wait();
    wait.set_group("expert");
    wait.set_sequence(9);
    wait.set_signature(signature);
    return state;
  }
  void SendWait(int rank, uint32_t signature) {
    WatchMessage message;
    *message.mutable_state() = WaitState(rank, signature);
    Send(rank, message);
  }

  template <typename Predicate>
  void RunUntil(Predicate is_done) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    while (!is_done() && std::chrono::steady_clock::now() < end)
      context_.run_one_for(std::chrono::milliseconds(100));
    EXPECT_TRUE(is_done());
  }
  // Handles what is on its way.
  void Settle(std::chrono::milliseconds time = std::chrono::milliseconds(300)) {
    context_.run_for(time);
  }

  asio::io_context context_;
  std::unique_ptr<WatchHub> hub_;
  std::vector<std::unique_ptr<WatchLink>> links_;
  int connected_ = 0;
  int inquiries_ = 0;
  int lost_ = 0;
  int silent_ = -1;
  // By rank: the collective that it answers to be in; none if this is empty.
  std::map<int, uint32_t> answers_;
  std::vector<int> leaves_;
  std::optional<LostRankReport> report_;
  std::optional<int> left_;
};

}  // namespace moe

#endif  // TESTS_COMM_WATCH_HUB_FIXTURE_H_
