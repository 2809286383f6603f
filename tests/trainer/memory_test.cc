// What a dry run predicts against what a rank holds after two steps.
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "launch/command/presets.h"
#include "tests/mpi_test.h"
#include "tests/trainer/trainer_fixture.h"
#include "trainer/config/config_override.h"
#include "trainer/config/config_resolve.h"
#include "trainer/config/config_text.h"
#include "trainer/plan/dry_run.h"
#include "trainer/report/machine.h"

namespace moe {
namespace {

// e8 with one micro-step a rank: what a step holds at once is the same.
TrainConfig Config(bool force_balance) {
  const int world = TestRuntime().world();
  TrainConfig config = *ParseConfig(FindPreset("e8")->text, "e8");
  const absl::Status status =
      ApplyOverrides(config, {"batch.micro_size=4", "run.threads=1",
                              absl::StrCat("batch.global_size=", 4 * world),
                              absl::StrCat("router.force_balance=",
                                           force_balance ? "true" : "false")});
  EXPECT_TRUE(status.ok()) << status;
  return *ResolveConfig(config, world, /*cores_per_rank=*/1);
}

// Of the largest rank after two steps.
double ResidentAfterTwoSteps(const TrainConfig& config) {
  TestTrainer trainer(config, /*alone=*/false);
  EXPECT_TRUE(trainer->TrainStep().ok());
  EXPECT_TRUE(trainer->TrainStep().ok());
  int64_t resident = ResidentBytes();
  EXPECT_TRUE(
      trainer.world()
          .AllReduce(ViewOf(absl::MakeSpan(&resident, 1)), ReduceOp::kMax)
          .ok());
  return static_cast<double>(resident);
}

TEST(Memory, ARankHoldsWhatTheDryRunPredicts) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "AddressSanitizer takes memory of its own";
#endif
  const absl::StatusOr<DryRun> predicted =
      MakeDryRun(Config(false), TestRuntime().world());
  ASSERT_TRUE(predicted.ok()) << predicted.status();
  // Nothing is saved here.
  const double even = static_cast<double>(predicted->memory.Total() -
                                          predicted->memory.snapshot);
  const double twice =
      even + static_cast<double>(predicted->memory.double_load);

  const double balanced = ResidentAfterTwoSteps(Config(true));
  EXPECT_LE(balanced / even, 1.2) << balanced << " bytes";
  EXPECT_GE(balanced / even, 1 / 1.2) << balanced << " bytes";
  // A router that has not learned yet sends one rank up to twice its share.
  const double unbalanced = ResidentAfterTwoSteps(Config(false));
  EXPECT_LE(unbalanced / twice, 1.2) << unbalanced << " bytes";
}

}  // namespace
}  // namespace moe
