#include "comm/activity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "comm/trace.h"

namespace moe {
namespace {

TEST(Activity, IsInAPhaseUntilTheScopeEnds) {
  SetStep(12);
  const std::string outside = ToString(CurrentPosition());
  {
    PhaseScope block(Phase::kBlock, 3);
    EXPECT_EQ(ToString(CurrentPosition()), "step 12, layer 3, block");
    {
      PhaseScope phase(Phase::kAttention);
      EXPECT_EQ(ToString(CurrentPosition()), "step 12, layer 3, attention");
      phase.Enter(Phase::kRouter);
      EXPECT_EQ(ToString(CurrentPosition()), "step 12, layer 3, router");
    }
    EXPECT_EQ(ToString(CurrentPosition()), "step 12, layer 3, block");
  }
  EXPECT_EQ(ToString(CurrentPosition()), outside);
}

TEST(Activity, GoesOnWithAStepThatBeganInsideAScope) {
  SetStep(1);
  {
    const PhaseScope phase(Phase::kData);
    SetStep(2);
  }
  EXPECT_EQ(CurrentPosition().step, 2);
}

TEST(Activity, ChangesWithEveryPhaseAndWait) {
  int64_t last = CurrentActivity().changes;
  const auto changed = [&] {
    const int64_t now = CurrentActivity().changes;
    return now > std::exchange(last, now);
  };
  EXPECT_FALSE(changed());
  {
    const PhaseScope phase(Phase::kExperts);
    EXPECT_TRUE(changed());
  }
  EXPECT_TRUE(changed());
  BeginWait(WaitRecord());
  EXPECT_TRUE(changed());
  UpdateWait(WaitRecord());
  EXPECT_FALSE(changed()) << "it is the same wait";
  EndWait(absl::Seconds(1));
  EXPECT_TRUE(changed());
  EXPECT_FALSE(CurrentActivity().waits);
}

TEST(RehearsalScope, LeavesTheRecordAndThePhaseTimesAsTheyAre) {
  SetStep(7);
  const PhaseScope phase(Phase::kStart);
  const Activity before = CurrentActivity();
  TakePhaseTimes();
  {
    const RehearsalScope rehearsal;
    EXPECT_TRUE(Rehearsing());
    EXPECT_EQ(CurrentPosition().step, 7);
    SetStep(1);
    const PhaseScope planned(Phase::kExperts, 3);
    EXPECT_EQ(ToString(CurrentPosition()), "step 1, layer 3, experts");
    EXPECT_EQ(CurrentActivity().changes, before.changes);
    EXPECT_EQ(ToString(CurrentActivity().position), ToString(before.position));
  }
  EXPECT_FALSE(Rehearsing());
  EXPECT_EQ(ToString(CurrentPosition()), ToString(before.position));
  EXPECT_EQ(CurrentActivity().changes, before.changes);
  for (const PhaseTime& time : TakePhaseTimes())
    EXPECT_EQ(time.nanos, 0) << Name(time.phase);
}

TEST(RehearsalScope, KeepsItsCountsOutOfTheTrace) {
  StartTrace(/*capacity=*/8);
  {
    const RehearsalScope rehearsal;
    const PhaseScope phase(Phase::kDispatch);
    TraceNumber("rows_sent", 5);
  }
  { const PhaseScope phase(Phase::kExperts); }
  int64_t dropped = 0;
  const std::vector<TraceEvent> events = TakeTrace(&dropped);
  EXPECT_EQ(events.size(), 2u);  // what was before the experts, and they
  for (const TraceEvent& event : events)
    EXPECT_EQ(event.numbers[0].name, nullptr) << event.name;
}

TEST(Activity, SaysWhatAWaitIsFor) {
  WaitRecord wait;
  wait.operation = "all-to-all-v";
  wait.group = "expert";
  wait.sequence = 812;
  wait.position = {.step = 12, .layer = 3, .phase = Phase::kDispatch};
  EXPECT_EQ(ToString(wait),
            "all-to-all-v 812 in group expert (step 12, layer 3, dispatch)");
  wait.expected_bytes = 4096;
  wait.arrived_bytes = 16;
  wait.num_missing = 6;
  for (int i = 0; i < WaitRecord::kMostMissing; ++i)
    wait.missing[static_cast<size_t>(i)] = {i + 3, 4};
  EXPECT_EQ(ToString(wait),
            "all-to-all-v 812 in group expert (step 12, layer 3, dispatch), 16 "
            "of 4096 bytes arrived, waiting for rank 3 (4 bytes), 4 (4 bytes), "
            "5 (4 bytes), 6 (4 bytes) and 2 more");
}

}  // namespace
}  // namespace moe
