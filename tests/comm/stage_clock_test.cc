#include "comm/stage_clock.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

namespace moe {
namespace {

std::map<std::string, int64_t> ByName(const std::vector<StageTime>& times) {
  std::map<std::string, int64_t> nanos;
  for (const StageTime& time : times) nanos[time.stage] += time.nanos;
  return nanos;
}

TEST(StageClock, CountsAllTimeOnce) {
  const int64_t begin = ClockNanos();
  StageClock clock;
  clock.Leave({.stage = "attention"});
  clock.Leave({.stage = "router"});
  clock.Leave({.stage = "attention"});
  const int64_t end = ClockNanos();
  const auto nanos = ByName(clock.Take());
  EXPECT_EQ(nanos.size(), 2u);
  EXPECT_GT(nanos.at("attention"), 0);
  EXPECT_LE(nanos.at("attention") + nanos.at("router"), end - begin);
}

TEST(StageClock, CountsWaitingApartFromTheStageItIsIn) {
  StageClock clock;
  clock.Leave({.stage = "start"});
  clock.Take();
  clock.Wait({.stage = "dispatch"}, "all-to-all-v", "expert", 1'000'000'000);
  clock.Leave({.stage = "dispatch"});
  clock.Leave({.stage = "experts"});
  const std::vector<StageTime> times = clock.Take();
  const auto nanos = ByName(times);
  EXPECT_EQ(nanos.at("waiting"), 1'000'000'000);
  for (const StageTime& time : times) {
    const bool here = time.stage == std::string("dispatch");
    EXPECT_EQ(time.waited_nanos, here ? 1'000'000'000 : 0) << time.stage;
  }
  EXPECT_LT(nanos.at("dispatch"), 0) << "this wait was not real";
  for (const StageTime& time : clock.Take()) {
    EXPECT_EQ(time.nanos, 0) << time.stage << " was taken";
    EXPECT_EQ(time.waited_nanos, 0) << time.stage << " was taken";
  }
}

// The events of stages touch each other; a wait lies within one.
TEST(Trace, KeepsWhatHappensWhileItIsOn) {
  StageClock clock;
  clock.Leave({.stage = "before"});
  StartTrace(/*capacity=*/3);
  TraceNumber("rows_sent", 7);
  clock.Wait({.stage = "dispatch"}, "all-to-all-v", "a group of a long name",
             1);
  clock.Leave({.step = 3, .layer = 1, .stage = "dispatch"});
  clock.Leave({.stage = "experts"});
  clock.Leave({.stage = "combine"});
  int64_t dropped = 0;
  const std::vector<TraceEvent> events = TakeTrace(&dropped);
  clock.Leave({.stage = "after"});
  EXPECT_EQ(dropped, 1) << "the fourth";
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[0].kind, TraceEvent::Kind::kWait);
  EXPECT_STREQ(events[0].group.data(), "a group of a lo");
  EXPECT_STREQ(events[1].name, "dispatch");
  EXPECT_EQ(events[1].position.step, 3);
  EXPECT_STREQ(events[1].numbers[0].name, "rows_sent");
  EXPECT_EQ(events[1].numbers[0].value, 7);
  EXPECT_EQ(events[1].end, events[2].begin);
  EXPECT_EQ(events[2].numbers[0].name, nullptr) << "of the stage before";
  EXPECT_FALSE(Tracing());
}

}  // namespace
}  // namespace moe
