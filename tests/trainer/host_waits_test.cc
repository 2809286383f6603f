// How often the host waits for the device in a step: on a GPU each time costs
// what it takes to fill an empty queue again.

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <tuple>

#include "tests/guarded_context.h"
#include "tests/mpi_test.h"
#include "tests/trainer/trainer_fixture.h"

namespace moe {
namespace {

// How the network is computed again, the capacity factor (0: no capacity), and
// sequences of a rank in a micro-step (0: all).
using Case = std::tuple<RunConfig::Recompute, double, int>;

class HostWaitsTest : public testing::TestWithParam<Case> {
 protected:
  // Trainers made from here on are on the device that counts.
  static void SetUpTestSuite() { setenv("MOE_TEST_GUARDED", "1", 1); }

  // Experts take a few rows at once where that is asked for.
  static TrainConfig Config() {
    const auto [recompute, capacity_factor, micro_size] = GetParam();
    TrainConfig config = SmallConfig();
    config.mutable_run()->set_recompute(recompute);
    if (recompute == RunConfig::EXPERTS)
      config.mutable_run()->set_expert_chunk_rows(7);
    config.mutable_router()->set_capacity_factor(capacity_factor);
    config.mutable_batch()->set_micro_size(micro_size);
    return config;
  }

  static int64_t MicroSteps(const TrainConfig& config) {
    const BatchConfig& batch = config.batch();
    return BatchPlan(batch.global_size(), batch.micro_size(),
                     TestRuntime().world())
        .num_micro_steps();
  }

  static int64_t waits() { return GuardedContext::Get().num_waits(); }
};

// For each layer's row counts, and for the losses and the load.
int64_t OfForward(const TrainConfig& config) {
  return config.model().num_hidden_layers() + 1;
}

TEST_P(HostWaitsTest, AForwardWaitsOnceALayerAndOnceForItsNumbers) {
  const TrainConfig config = Config();
  TestTrainer trainer(config, /*alone=*/false);
  const int64_t before = waits();
  ASSERT_TRUE(trainer->ValidationLoss(/*batches=*/1).ok());
  EXPECT_EQ(waits() - before, MicroSteps(config) * OfForward(config));
}

// And so a backward never does.
TEST_P(HostWaitsTest, AStepWaitsOnceMoreThanItsForwards) {
  const TrainConfig config = Config();
  TestTrainer trainer(config, /*alone=*/false);
  for (int step = 1; step <= 2; ++step) {
    const int64_t before = waits();
    ASSERT_TRUE(trainer->TrainStep().ok());
    EXPECT_EQ(waits() - before, MicroSteps(config) * OfForward(config) + 1)
        << "step " << step;
  }
}

std::string CaseName(const testing::TestParamInfo<Case>& info) {
  const auto [recompute, capacity_factor, micro_size] = info.param;
  return RunConfig::Recompute_Name(recompute) +
         (capacity_factor > 0 ? "Capacity" : "Dropless") + "Micro" +
         std::to_string(micro_size);
}

INSTANTIATE_TEST_SUITE_P(Modes, HostWaitsTest,
                         testing::Combine(testing::Values(RunConfig::NONE,
                                                          RunConfig::BLOCK,
                                                          RunConfig::EXPERTS),
                                          testing::Values(0.0, 0.75),
                                          testing::Values(0, 2)),
                         CaseName);

}  // namespace
}  // namespace moe
