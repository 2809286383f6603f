#include "trainer/plan/memory_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "comm/base/buffer.h"
#include "tests/mpi_test.h"
#include "tests/trainer/trainer_fixture.h"
#include "trainer/checkpoint/store/checkpoint_saver.h"
#include "trainer/config/config_resolve.h"
#include "trainer/config/layout.h"
#include "trainer/plan/step_plan.h"

namespace moe {
namespace {

struct Case {
  RunConfig::ComputeDType dtype;
  int tensor = 1;
  RunConfig::Recompute recompute = RunConfig::NONE;
};

// 16 sequences, spread evenly over the ranks and their tokens evenly over the
// experts: what the plans assume.
TrainConfig EvenConfig(const Case& c) {
  TrainConfig config = SmallConfig();
  ModelConfig& model = *config.mutable_model();
  model.set_vocab_size(500);
  model.set_hidden_size(96);
  model.set_intermediate_size(160);
  model.set_num_key_value_heads(4);
  config.mutable_router()->set_force_balance(true);
  config.mutable_run()->set_compute_dtype(c.dtype);
  config.mutable_run()->set_recompute(c.recompute);
  config.mutable_parallel()->set_tensor(c.tensor);
  config.mutable_batch()->set_global_size(16);
  config.mutable_batch()->set_sequence_length(64);
  return *ResolveConfig(config, TestRuntime().world(), /*cores_per_rank=*/1);
}

class MemoryPlanTest : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    const int world = TestRuntime().world();
    if (world % GetParam().tensor != 0)
      GTEST_SKIP() << GetParam().tensor << " does not divide " << world;
  }
};

// Of the largest rank: slices of a vocabulary differ.
int64_t Most(TestTrainer& trainer, int64_t bytes) {
  EXPECT_TRUE(trainer.world()
                  .AllReduce(ViewOf(absl::MakeSpan(&bytes, 1)), ReduceOp::kMax)
                  .ok());
  return bytes;
}

TEST_P(MemoryPlanTest, ActivationsAreWhatTheArenasHold) {
  const TrainConfig config = EvenConfig(GetParam());
  TestTrainer trainer(config, /*alone=*/false);
  for (int step = 0; step < 2; ++step) EXPECT_TRUE(trainer->TrainStep().ok());
  const RankMemory plan =
      PlanMemory(config, *MakeMesh(config, TestRuntime().world()));
  const Pass& pass = trainer->pass();
  EXPECT_EQ(plan.activations,
            Most(trainer, pass.saved.peak_bytes() + pass.routing.peak_bytes()));
  EXPECT_EQ(plan.scratch, Most(trainer, pass.scratch.peak_bytes()));
  const Arena& scratch = pass.scratch;
  for (const Arena* arena : {&pass.saved, &pass.routing, &scratch}) {
    EXPECT_LE(arena->num_chunks(), 1);
    EXPECT_LE(arena->capacity_bytes(),
              std::max(arena->peak_bytes() * 9 / 8 + 64, int64_t{1} << 16));
  }
}

// In each of these shapes another call needs the most scratch.
constexpr int kLength = 16;

struct TinyShape {
  const char* most_scratch;
  int head_dim = 4;
  int hidden_size = 12;
  int intermediate_size = 8;
  int num_experts = 16;
  int experts_per_token = 2;
  int vocab_size = 11;
  // With balanced experts: of 1 a capacity that nothing exceeds, below it
  // drops.
  double capacity_factor = 0;
  RouterConfig::DropPolicy drop_policy = RouterConfig::PROBABILITY;
};

constexpr TinyShape kTinyShapes[] = {
    {.most_scratch = "experts", .intermediate_size = 40},
    {.most_scratch = "attention", .head_dim = 12, .intermediate_size = 2},
    {.most_scratch = "router",
     .hidden_size = 4,
     .num_experts = 64,
     .experts_per_token = 4},
    {.most_scratch = "loss", .vocab_size = 400},
    {.most_scratch = "dispatch",
     .intermediate_size = 1,
     .experts_per_token = 4},
    {.most_scratch = "experts, nothing dropped",
     .intermediate_size = 40,
     .capacity_factor = 1},
    {.most_scratch = "experts, half dropped",
     .intermediate_size = 40,
     .capacity_factor = 0.5,
     .drop_policy = RouterConfig::POSITION},
    {.most_scratch = "router, most dropped",
     .head_dim = 2,
     .hidden_size = 1,
     .intermediate_size = 1,
     .num_experts = 4,
     .experts_per_token = 4,
     .capacity_factor = 0.25},
};

TEST_P(MemoryPlanTest, EveryByteOfEachArenaIsForeseen) {
  for (const TinyShape& tiny : kTinyShapes) {
    TrainConfig config = EvenConfig(GetParam());
    ModelConfig& model = *config.mutable_model();
    model.set_head_dim(tiny.head_dim);
    model.set_hidden_size(tiny.hidden_size);
    model.set_intermediate_size(tiny.intermediate_size);
    model.set_num_local_experts(tiny.num_experts);
    model.set_num_experts_per_tok(tiny.experts_per_token);
    model.set_vocab_size(tiny.vocab_size);
    config.mutable_router()->set_capacity_factor(tiny.capacity_factor);
    config.mutable_router()->set_drop_policy(tiny.drop_policy);
    config.mutable_batch()->set_sequence_length(kLength);
    config.mutable_parallel()->set_expert(0);
    const Mesh mesh = *MakeMesh(config, TestRuntime().world());
    config.mutable_parallel()->set_expert(mesh.expert());
    TestTrainer trainer(config, /*alone=*/false);
    EXPECT_TRUE(trainer->TrainStep().ok());
    const StepPlan plan = PlanStep(config, mesh, mesh.world() - 1);
    const Pass& pass = trainer->pass();
    EXPECT_EQ(plan.saved_bytes, Most(trainer, pass.saved.peak_bytes()))
        << tiny.most_scratch;
    EXPECT_EQ(plan.routing_bytes, Most(trainer, pass.routing.peak_bytes()))
        << tiny.most_scratch;
    EXPECT_EQ(plan.scratch_bytes, Most(trainer, pass.scratch.peak_bytes()))
        << tiny.most_scratch;
  }
}

TEST_P(MemoryPlanTest, ASnapshotIsForeseen) {
  const TrainConfig config = EvenConfig(GetParam());
  TestTrainer trainer(config, /*alone=*/false);
  const int64_t before = Buffer::live_bytes();
  const auto saver = CheckpointSaver::Create(PosixFileSystem(),
                                             {.table = trainer->table(),
                                              .mesh = trainer.mesh(),
                                              .groups = trainer.groups(),
                                              .state = trainer->optimizer()},
                                             {});
  ASSERT_TRUE(saver.ok()) << saver.status();
  const int64_t live = Most(trainer, Buffer::live_bytes() - before);
  const int64_t plan = PlanMemory(config, trainer.mesh()).snapshot;
  // The rank that writes most weights may own less of the moments.
  EXPECT_LE(live, plan);
  EXPECT_GT(live, plan * 3 / 4);
}

TEST_P(MemoryPlanTest, EveryBufferOfARankIsForeseen) {
  const TrainConfig config = EvenConfig(GetParam());
  const int64_t before = Buffer::live_bytes();
  TestTrainer trainer(config, /*alone=*/false);
  for (int step = 0; step < 3; ++step) EXPECT_TRUE(trainer->TrainStep().ok());
  const double live = static_cast<double>(Buffer::live_bytes() - before);
  const RankMemory plan =
      PlanMemory(config, *MakeMesh(config, TestRuntime().world()));
  const double planned =
      static_cast<double>(plan.Total() - plan.process - plan.snapshot);
  // Arenas have an eighth to spare. The kernels' scratch does not grow with the
  // model, and depends on the processor: with bfloat16 products more than
  // 256 KiB on some.
  constexpr double kScratch = 1 << 20;
  EXPECT_LT(live, 1.25 * planned + kScratch);
  EXPECT_LT(planned, 1.2 * live);
}

// Ranks of which some have more sequences than others, and some none; the last
// micro-step of those that have more is of another size.
constexpr struct {
  int global_size;
  int micro_size;
} kUnevenBatches[] = {{1, 0}, {3, 0}, {7, 2}, {5, 1}, {33, 3}};

TEST_P(MemoryPlanTest, EachRankOfAnUnevenBatchIsForeseen) {
  for (const auto& batch : kUnevenBatches) {
    TrainConfig config = EvenConfig(GetParam());
    config.mutable_batch()->set_global_size(batch.global_size);
    config.mutable_batch()->set_micro_size(batch.micro_size);
    const Mesh mesh = *MakeMesh(config, TestRuntime().world());
    TestTrainer trainer(config, /*alone=*/false);
    EXPECT_TRUE(trainer->TrainStep().ok());
    const StepPlan plan = PlanStep(config, mesh, TestRuntime().rank());
    const Pass& pass = trainer->pass();
    EXPECT_EQ(plan.saved_bytes, pass.saved.peak_bytes()) << batch.global_size;
    EXPECT_EQ(plan.routing_bytes, pass.routing.peak_bytes())
        << batch.global_size;
    EXPECT_EQ(plan.scratch_bytes, pass.scratch.peak_bytes())
        << batch.global_size;
  }
}

// Of a rank without sequences too: its experts' rows come from the others.
TEST_P(MemoryPlanTest, TheMeanIsOfAllRanks) {
  for (const auto& batch : kUnevenBatches) {
    TrainConfig config = EvenConfig(GetParam());
    config.mutable_batch()->set_global_size(batch.global_size);
    config.mutable_batch()->set_micro_size(batch.micro_size);
    TestTrainer trainer(config, /*alone=*/false);
    EXPECT_TRUE(trainer->TrainStep().ok());
    const Pass& pass = trainer->pass();
    int64_t sums[] = {pass.saved.peak_bytes() + pass.routing.peak_bytes(),
                      pass.scratch.peak_bytes()};
    EXPECT_TRUE(trainer.world()
                    .AllReduce(ViewOf(absl::MakeSpan(sums)), ReduceOp::kSum)
                    .ok());
    const int64_t world = TestRuntime().world();
    const RankMemory mean = PlanMeanMemory(config, trainer.mesh());
    EXPECT_EQ(mean.activations, sums[0] / world) << batch.global_size;
    // A slice of the vocabulary may be one smaller than the others.
    EXPECT_GE(mean.scratch, sums[1] / world) << batch.global_size;
    EXPECT_LE(static_cast<double>(mean.scratch),
              1.05 * static_cast<double>(sums[1] / world))
        << batch.global_size;
  }
}

constexpr RunConfig::ComputeDType kBFloat16 = RunConfig::BFLOAT16;
constexpr RunConfig::ComputeDType kFloat32 = RunConfig::FLOAT32;
constexpr RunConfig::Recompute kExperts = RunConfig::EXPERTS;
constexpr RunConfig::Recompute kBlock = RunConfig::BLOCK;

std::string CaseName(const ::testing::TestParamInfo<Case>& info) {
  return (info.param.dtype == kFloat32 ? "Float32Tensor" : "BFloat16Tensor") +
         std::to_string(info.param.tensor) +
         RunConfig::Recompute_Name(info.param.recompute);
}

INSTANTIATE_TEST_SUITE_P(
    Layouts, MemoryPlanTest,
    ::testing::Values(Case{kFloat32}, Case{kBFloat16}, Case{kFloat32, 2},
                      Case{kBFloat16, 2}, Case{kFloat32, 4}, Case{kBFloat16, 4},
                      Case{kFloat32, 2, kExperts}, Case{kBFloat16, 1, kExperts},
                      Case{kFloat32, 1, kBlock}, Case{kBFloat16, 2, kBlock}),
    CaseName);

}  // namespace
}  // namespace moe
