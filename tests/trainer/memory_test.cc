// What a dry run predicts against what a rank holds after two steps.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "launch/presets.h"
#include "tests/mpi_test.h"
#include "tests/trainer/trainer_fixture.h"
#include "trainer/config_override.h"
#include "trainer/config_resolve.h"
#include "trainer/config_text.h"
#include "trainer/dry_run.h"
#include "trainer/machine.h"

namespace moe {
namespace {

TEST(Memory, ARankHoldsWhatTheDryRunPredicts) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "AddressSanitizer takes memory of its own";
#endif
  const int world = TestRuntime().world();
  TrainConfig config = *ParseConfig(FindPreset("e8")->text, "e8");
  // One micro-step for each rank: what a step holds at once is the same.
  ASSERT_TRUE(
      ApplyOverrides(config, {"batch.micro_size=4", "run.threads=1",
                              "batch.global_size=" + std::to_string(4 * world)})
          .ok());
  config = *ResolveConfig(config, world, /*cores_per_rank=*/1);
  const absl::StatusOr<DryRun> predicted = MakeDryRun(config, world);
  ASSERT_TRUE(predicted.ok()) << predicted.status();

  TestTrainer trainer(config, /*alone=*/false);
  ASSERT_TRUE(trainer->TrainStep().ok());
  ASSERT_TRUE(trainer->TrainStep().ok());
  int64_t resident = ResidentBytes();
  ASSERT_TRUE(
      trainer.world()
          .AllReduce(ViewOf(absl::MakeSpan(&resident, 1)), ReduceOp::kMax)
          .ok());
  const double ratio = static_cast<double>(resident) /
                       static_cast<double>(predicted->memory.Total());
  RecordProperty("resident_over_predicted", std::to_string(ratio));
  EXPECT_LE(ratio, 1.2) << resident << " bytes";
  EXPECT_GE(ratio, 1 / 1.2) << resident << " bytes";
}

}  // namespace
}  // namespace moe
