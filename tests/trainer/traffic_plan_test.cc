// What a step is foreseen to send against what the groups of every rank count.

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <tuple>

#include "tests/mpi_test.h"
#include "tests/trainer/trainer_fixture.h"
#include "trainer/config/config_resolve.h"
#include "trainer/config/layout.h"
#include "trainer/plan/step_plan.h"

namespace moe {
namespace {

struct Case {
  int tensor = 1;
  int expert = 0;      // 0: as many ranks as share them
  int micro_size = 0;  // 0: all at once
  RouterConfig::AuxLossScope scope = RouterConfig::SEQUENCE;
  double capacity_factor = 0;  // 2: a capacity that drops no balanced token
  RouterConfig::DropPolicy drop_policy = RouterConfig::PROBABILITY;
  bool documents = false;
  RunConfig::Recompute recompute = RunConfig::NONE;
};

class TrafficPlanTest
    : public testing::TestWithParam<std::tuple<Case, RunConfig::ComputeDType>> {
 protected:
  void SetUp() override {
    const Case c = std::get<Case>(GetParam());
    const int world = TestRuntime().world();
    if (world % c.tensor != 0 || (c.expert > 0 && world % c.expert != 0))
      GTEST_SKIP() << "does not divide " << world << " ranks";
  }

  // 10 sequences of 12 tokens, which 4 and 16 ranks share unevenly; a rank's
  // choices are no multiple of the 8 experts; experts in several buckets.
  static TrainConfig Config() {
    const auto& [c, dtype] = GetParam();
    TrainConfig config = SmallConfig();
    config.mutable_model()->set_num_key_value_heads(4);
    config.mutable_router()->set_force_balance(true);
    config.mutable_router()->set_aux_loss_scope(c.scope);
    config.mutable_router()->set_capacity_factor(c.capacity_factor);
    config.mutable_router()->set_drop_policy(c.drop_policy);
    config.mutable_data()->set_reset_attention(c.documents);
    config.mutable_run()->set_compute_dtype(dtype);
    config.mutable_run()->set_recompute(c.recompute);
    config.mutable_batch()->set_sequence_length(12);
    config.mutable_batch()->set_micro_size(c.micro_size);
    config.mutable_parallel()->set_tensor(c.tensor);
    config.mutable_parallel()->set_expert(c.expert);
    return *ResolveConfig(config, TestRuntime().world(), /*cores_per_rank=*/1);
  }
};

std::array<int64_t, std::size(kAllAxes)> SentBytes(
    const ProcessGroups& groups) {
  std::array<int64_t, std::size(kAllAxes)> bytes = {};
  for (Axis axis : kAllAxes)
    bytes[static_cast<size_t>(axis)] = groups[axis].traffic().sent_bytes;
  return bytes;
}

TEST_P(TrafficPlanTest, EveryByteOfAStepIsForeseen) {
  const TrainConfig config = Config();
  const Mesh mesh = *MakeMesh(config, TestRuntime().world());
  const RankTraffic plan = PlanStep(config, mesh, TestRuntime().rank()).traffic;
  TestTrainer trainer(config, /*alone=*/false);
  for (int step = 1; step <= 2; ++step) {
    const auto before = SentBytes(trainer.groups());
    const absl::StatusOr<StepReport> report = trainer->TrainStep();
    EXPECT_TRUE(report.ok()) << report.status();
    const auto after = SentBytes(trainer.groups());
    for (Axis axis : kAllAxes) {
      const auto i = static_cast<size_t>(axis);
      EXPECT_EQ(after[i] - before[i], plan[axis])
          << Name(axis) << " group, step " << step;
      EXPECT_EQ(plan[axis] > 0, mesh.Size(axis) > 1) << Name(axis);
    }
  }
}

std::string CaseName(
    const testing::TestParamInfo<TrafficPlanTest::ParamType>& info) {
  const auto& [c, dtype] = info.param;
  return "Tensor" + std::to_string(c.tensor) + "Expert" +
         std::to_string(c.expert) + "Micro" + std::to_string(c.micro_size) +
         (c.scope == RouterConfig::SEQUENCE ? "" : "MicroBatchScope") +
         (c.capacity_factor == 0 ? "" : "Capacity") +
         (c.drop_policy == RouterConfig::POSITION ? "ByPosition" : "") +
         (c.documents ? "Documents" : "") +
         (c.recompute == RunConfig::NONE
              ? ""
              : "Again" + RunConfig::Recompute_Name(c.recompute)) +
         (dtype == RunConfig::BFLOAT16 ? "BFloat16" : "");
}

constexpr RouterConfig::AuxLossScope kMicroBatch = RouterConfig::MICRO_BATCH;

INSTANTIATE_TEST_SUITE_P(
    Layouts, TrafficPlanTest,
    testing::Combine(
        testing::Values(Case{}, Case{.micro_size = 1}, Case{.micro_size = 2},
                        Case{.micro_size = 2, .scope = kMicroBatch},
                        Case{.expert = 1}, Case{.expert = 2, .micro_size = 1},
                        Case{.tensor = 2}, Case{.tensor = 2, .micro_size = 2},
                        Case{.tensor = 2, .expert = 1, .scope = kMicroBatch},
                        Case{.tensor = 2, .expert = 4, .micro_size = 1},
                        Case{.tensor = 4}, Case{.tensor = 4, .micro_size = 1},
                        Case{.tensor = 4, .expert = 2, .scope = kMicroBatch},
                        Case{.recompute = RunConfig::EXPERTS},
                        Case{.tensor = 2,
                             .capacity_factor = 2,
                             .recompute = RunConfig::BLOCK},
                        Case{.documents = true},
                        Case{.tensor = 2, .documents = true},
                        Case{.tensor = 2, .capacity_factor = 2},
                        Case{.tensor = 4,
                             .capacity_factor = 2,
                             .drop_policy = RouterConfig::POSITION}),
        testing::Values(RunConfig::FLOAT32, RunConfig::BFLOAT16)),
    CaseName);

// More than the loss head takes at once, so that there are chunks, and totals
// of more than 4 KiB, which are summed in two stages.
TEST(TrafficPlan, ChunksOfTheLossHeadAndLongSumsAreForeseen) {
  TrainConfig config = SmallConfig();
  const int world = TestRuntime().world();
  config.mutable_router()->set_force_balance(true);
  config.mutable_batch()->set_global_size(8);
  config.mutable_batch()->set_sequence_length(300);
  config.mutable_model()->set_num_local_experts(64);
  config.mutable_model()->set_vocab_size(70000);  // 64 tokens a chunk
  config.mutable_model()->set_num_hidden_layers(5);
  config.mutable_parallel()->set_tensor(world % 2 == 0 ? 2 : 1);
  config = *ResolveConfig(config, world, /*cores_per_rank=*/1);
  const Mesh mesh = *MakeMesh(config, world);
  const RankTraffic plan = PlanStep(config, mesh, TestRuntime().rank()).traffic;
  TestTrainer trainer(config, /*alone=*/false);
  const auto before = SentBytes(trainer.groups());
  EXPECT_TRUE(trainer->TrainStep().ok());
  const auto after = SentBytes(trainer.groups());
  for (Axis axis : kAllAxes) {
    const auto i = static_cast<size_t>(axis);
    EXPECT_EQ(after[i] - before[i], plan[axis]) << Name(axis) << " group";
  }
}

}  // namespace
}  // namespace moe
