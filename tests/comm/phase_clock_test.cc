#include "comm/phase_clock.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

namespace moe {
namespace {

std::map<std::string, int64_t> ByName(const std::vector<PhaseTime>& times) {
  std::map<std::string, int64_t> nanos;
  for (const PhaseTime& time : times) nanos[Name(time.phase)] += time.nanos;
  return nanos;
}

TEST(PhaseClock, CountsAllTimeOnce) {
  const int64_t begin = ClockNanos();
  PhaseClock clock;
  clock.Leave({.phase = Phase::kAttention});
  clock.Leave({.phase = Phase::kRouter});
  clock.Leave({.phase = Phase::kAttention});
  const int64_t end = ClockNanos();
  const auto nanos = ByName(clock.Take());
  EXPECT_EQ(nanos.size(), 2u);
  EXPECT_GT(nanos.at("attention"), 0);
  EXPECT_LE(nanos.at("attention") + nanos.at("router"), end - begin);
}

TEST(PhaseClock, CountsWaitingApartFromThePhaseItIsIn) {
  PhaseClock clock;
  clock.Leave({.phase = Phase::kStart});
  clock.Take();
  clock.Wait({.phase = Phase::kDispatch}, "all-to-all-v", "expert",
             1'000'000'000);
  clock.Leave({.phase = Phase::kDispatch});
  clock.Leave({.phase = Phase::kExperts});
  const std::vector<PhaseTime> times = clock.Take();
  const auto nanos = ByName(times);
  EXPECT_EQ(nanos.at("waiting"), 1'000'000'000);
  for (const PhaseTime& time : times) {
    const bool here = time.phase == Phase::kDispatch;
    EXPECT_EQ(time.waited_nanos, here ? 1'000'000'000 : 0) << Name(time.phase);
  }
  EXPECT_LT(nanos.at("dispatch"), 0) << "this wait was not real";
  for (const PhaseTime& time : clock.Take()) {
    EXPECT_EQ(time.nanos, 0) << Name(time.phase) << " was taken";
    EXPECT_EQ(time.waited_nanos, 0) << Name(time.phase) << " was taken";
  }
}

// The events of phases touch each other; a wait lies within one.
TEST(Trace, KeepsWhatHappensWhileItIsOn) {
  PhaseClock clock;
  clock.Leave({.phase = Phase::kStart});
  StartTrace(/*capacity=*/3);
  TraceNumber("rows_sent", 7);
  clock.Wait({.phase = Phase::kDispatch}, "all-to-all-v",
             "a group of a long name", 1);
  clock.Leave({.step = 3, .layer = 1, .phase = Phase::kDispatch});
  clock.Leave({.phase = Phase::kExperts});
  clock.Leave({.phase = Phase::kCombine});
  int64_t dropped = 0;
  const std::vector<TraceEvent> events = TakeTrace(&dropped);
  clock.Leave({.phase = Phase::kData});
  EXPECT_EQ(dropped, 1) << "the fourth";
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[0].kind, TraceEvent::Kind::kWait);
  EXPECT_STREQ(events[0].group.data(), "a group of a lo");
  EXPECT_STREQ(events[1].name, "dispatch");
  EXPECT_EQ(events[1].position.step, 3);
  EXPECT_STREQ(events[1].numbers[0].name, "rows_sent");
  EXPECT_EQ(events[1].numbers[0].value, 7);
  EXPECT_EQ(events[1].end, events[2].begin);
  EXPECT_EQ(events[2].numbers[0].name, nullptr) << "of the phase before";
  EXPECT_FALSE(Tracing());
}

}  // namespace
}  // namespace moe
