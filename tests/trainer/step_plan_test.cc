#include "trainer/plan/step_plan.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

#include "comm/activity.h"
#include "comm/base/buffer.h"
#include "launch/command/presets.h"
#include "tests/counted_heap.h"
#include "tests/no_threads.h"
#include "trainer/config/config_override.h"
#include "trainer/config/config_resolve.h"
#include "trainer/config/config_text.h"
#include "trainer/config/layout.h"
#include "trainer/plan/dry_run.h"

namespace moe {
namespace {

TrainConfig Preset(absl::string_view preset,
                   const std::vector<std::string>& overrides, int world) {
  TrainConfig config =
      *ParseConfig(FindPreset(preset)->text, std::string(preset));
  EXPECT_TRUE(ApplyOverrides(config, overrides).ok());
  return *ResolveConfig(config, world, /*cores_per_rank=*/1);
}

StepPlan LastRanksPlan(const TrainConfig& config, int world,
                       ExpertShare share = ExpertShare::kEven) {
  return PlanStep(config, *MakeMesh(config, world), world - 1, share);
}

// Address space of this process.
int64_t AddressBytes() {
  std::ifstream status("/proc/self/status");
  std::string word;
  int64_t kibibytes = 0;
  while (status >> word)
    if (word == "VmSize:") status >> kibibytes;
  return kibibytes << 10;
}

// While it lives the process may have so much more address space.
class AddressLimit {
 public:
  explicit AddressLimit(int64_t bytes) {
    getrlimit(RLIMIT_AS, &before_);
    rlimit limit = before_;
    limit.rlim_cur = static_cast<rlim_t>(AddressBytes() + bytes);
    EXPECT_EQ(setrlimit(RLIMIT_AS, &limit), 0);
  }
  ~AddressLimit() { setrlimit(RLIMIT_AS, &before_); }
  AddressLimit(const AddressLimit&) = delete;
  AddressLimit& operator=(const AddressLimit&) = delete;

 private:
  rlimit before_;
};

// A rank of it holds hundreds of gigabytes.
TEST(PlanStep, ReservesNoMemory) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the sanitizer takes address space of its own";
#endif
  const TrainConfig config =
      Preset("mixtral-8x7b", {"parallel.expert=1", "batch.micro_size=8"}, 4);
  const AddressLimit limit(int64_t{64} << 20);
  EXPECT_EQ(Buffer::Allocate(int64_t{1} << 30).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_GT(LastRanksPlan(config, 4).saved_bytes, int64_t{64} << 30);
}

TEST(PlanStep, StartsNoThread) {
  const NoThreads no_threads;
  EXPECT_GT(LastRanksPlan(Preset("quickstart", {}, 2), 2).saved_bytes, 0);
}

TEST(PlanStep, TakesLittleOfTheHeapHoweverManyRanksThereAre) {
  TrainConfig config =
      *ParseConfig(FindPreset("mixtral-8x7b")->text, "mixtral-8x7b");
  const int64_t before = LiveHeapBytes();
  ForgetPeakHeap();
  const absl::StatusOr<DryRun> run = MakeDryRun(config, 16384);
  EXPECT_LT(PeakHeapBytes() - before, int64_t{200} << 20);
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_GT(run->memory.activations, int64_t{1} << 30);
  EXPECT_GT(run->traffic[Axis::kWorld], 0);
}

// The tokens alone would take 128 MiB.
TEST(PlanStep, TakesNoMemoryForTokens) {
  const TrainConfig config =
      Preset("quickstart",
             {"batch.sequence_length=65536", "batch.global_size=256"}, 1);
  const int64_t before = LiveHeapBytes();
  ForgetPeakHeap();
  EXPECT_GT(LastRanksPlan(config, 1).saved_bytes, int64_t{1} << 30);
  EXPECT_LT(PeakHeapBytes() - before, int64_t{32} << 20);
}

TEST(PlanStep, LeavesNoTraceInTheProcess) {
  SetStep(12);
  const PhaseScope phase(Phase::kData);
  const Activity before = CurrentActivity();
  const absl::Duration waited = TimeWaited();
  const int64_t live = Buffer::live_bytes();
  LastRanksPlan(Preset("quickstart", {"parallel.tensor=2"}, 8), 8);
  EXPECT_EQ(CurrentActivity().changes, before.changes);
  EXPECT_EQ(ToString(CurrentPosition()), ToString(before.position));
  EXPECT_EQ(TimeWaited(), waited);
  EXPECT_EQ(Buffer::live_bytes(), live);
}

// Whatever the number of micro-steps: those between the first and the last add
// the same each.
TEST(PlanStep, AMicroStepMoreCostsTheSameEachTime) {
  const auto plan = [](int micro_steps) {
    return LastRanksPlan(
        Preset("quickstart",
               {"batch.micro_size=2", "parallel.tensor=2",
                "batch.global_size=" + std::to_string(8 * micro_steps)},
               8),
        8);
  };
  const StepPlan two = plan(2);
  const StepPlan three = plan(3);
  const StepPlan thousand = plan(1000);
  for (Axis axis : kAllAxes) {
    EXPECT_EQ(thousand.traffic[axis] - two.traffic[axis],
              998 * (three.traffic[axis] - two.traffic[axis]))
        << Name(axis);
  }
  EXPECT_EQ(thousand.saved_bytes, two.saved_bytes);
  EXPECT_EQ(thousand.scratch_bytes, two.scratch_bytes);
  EXPECT_EQ(thousand.received_rows, two.received_rows);
}

// Of rows in parts only one part lives at a time. Their counts are sent once,
// for all parts together.
TEST(PlanStep, ChunksOfTheExpertsRowsTakeLess) {
  const auto plan = [](const std::string& rows) {
    return LastRanksPlan(
        Preset("quickstart",
               {"run.recompute=EXPERTS", "run.expert_chunk_rows=" + rows}, 4),
        4);
  };
  const StepPlan whole = plan("1000000");
  const StepPlan parts = plan("512");
  EXPECT_LT(parts.saved_bytes, whole.saved_bytes);
  EXPECT_EQ(parts.received_rows, whole.received_rows);
  EXPECT_EQ(parts.traffic[Axis::kExpert], whole.traffic[Axis::kExpert]);
}

}  // namespace
}  // namespace moe
