// The same run on any layout: what a world of ranks computes is compared, on
// every rank, with what one rank computes alone.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "tests/mpi_test.h"
#include "tests/trainer/trainer_fixture.h"

namespace moe {
namespace {

// Squared norms of a difference and of what it is a difference to.
struct Norms {
  double difference = 0;
  double reference = 0;
};

struct Layout {
  std::string name;
  int world;  // the case runs in a world of this size only
  int expert;
  int micro_size;
  RouterConfig::AuxLossScope scope = RouterConfig::SEQUENCE;
  RunConfig::ComputeDType dtype = RunConfig::FLOAT32;
  int experts = 8;
  int global_size = 10;
};

std::string CaseName(const testing::TestParamInfo<Layout>& info) {
  return info.param.name;
}

class LayoutTest : public testing::TestWithParam<Layout> {
 protected:
  void SetUp() override {
    const int world = TestRuntime().world();
    if (world != GetParam().world)
      GTEST_SKIP() << "for " << GetParam().world << " ranks, here are "
                   << world;
  }

  static TrainConfig Config() {
    const Layout& layout = GetParam();
    TrainConfig config = SmallConfig();
    config.mutable_model()->set_num_local_experts(layout.experts);
    config.mutable_router()->set_aux_loss_scope(layout.scope);
    config.mutable_batch()->set_global_size(layout.global_size);
    config.mutable_batch()->set_micro_size(layout.micro_size);
    config.mutable_parallel()->set_expert(layout.expert);
    config.mutable_run()->set_compute_dtype(layout.dtype);
    return config;
  }

  // A micro-batch's auxiliary loss depends on what is in it, so that the run
  // alone must take the same micro-steps: with MICRO_BATCH one, of everything.
  static TrainConfig ConfigAlone() {
    TrainConfig config = Config();
    config.mutable_batch()->set_micro_size(0);
    return config;
  }

  // Bounds of the promise, and bfloat16's rounding.
  static double GradientBound() { return IsFloat32() ? 1e-5 : 2e-2; }
  static double WeightBound() { return IsFloat32() ? 1e-4 : 2e-2; }
  static double LossBound() { return IsFloat32() ? 1e-5 : 2e-3; }
  static bool IsFloat32() { return GetParam().dtype == RunConfig::FLOAT32; }
};

// Every element of the reduced gradient is on one rank of the world.
std::map<std::string, Norms> CompareGradients(TestTrainer& ours,
                                              TestTrainer& alone) {
  std::map<std::string, Norms> norms;
  for (const Parameter& parameter : ours->table().parameters()) {
    Norms& n = norms[parameter.name];
    if (!parameter.local) continue;
    const ShardMap& map = ours->shards()[static_cast<size_t>(parameter.arena)];
    const int owner = ours.groups()[ReductionAxis(parameter.arena)].rank();
    const Parameter& same = alone->table().parameters()[static_cast<size_t>(
        alone->table().Find(parameter.name))];
    const float* mine = ours->gradients().Get(parameter).data<float>();
    const float* theirs = alone->gradients().Get(same).data<float>();
    for (int bucket = 0; bucket < map.num_buckets(); ++bucket) {
      const ShardMap::Range slice = map.Slice(bucket, owner);
      const int64_t begin =
          std::max<int64_t>(slice.begin - parameter.offset, 0);
      const int64_t end = std::min(slice.begin + slice.count - parameter.offset,
                                   parameter.size);
      for (int64_t i = begin; i < end; ++i) {
        n.difference += std::pow(double{mine[i]} - double{theirs[i]}, 2);
        n.reference += std::pow(double{theirs[i]}, 2);
      }
    }
  }
  return norms;
}

std::map<std::string, Norms> CompareWeights(TestTrainer& ours,
                                            TestTrainer& alone) {
  std::map<std::string, Norms> norms;
  for (const Parameter& parameter : ours->table().parameters()) {
    Norms& n = norms[parameter.name];
    if (!parameter.local) continue;
    const Parameter& same = alone->table().parameters()[static_cast<size_t>(
        alone->table().Find(parameter.name))];
    std::vector<float> mine(static_cast<size_t>(parameter.size));
    std::vector<float> theirs(mine.size());
    EXPECT_TRUE(
        ours->optimizer()
            .Gather(parameter.arena, parameter.offset, absl::MakeSpan(mine))
            .ok());
    EXPECT_TRUE(alone->optimizer()
                    .Gather(same.arena, same.offset, absl::MakeSpan(theirs))
                    .ok());
    for (size_t i = 0; i < mine.size(); ++i) {
      n.difference += std::pow(double{mine[i]} - double{theirs[i]}, 2);
      n.reference += std::pow(double{theirs[i]}, 2);
    }
  }
  return norms;
}

void ExpectWithin(std::map<std::string, Norms> norms, double bound,
                  const std::string& what, ProcessGroup& world) {
  for (auto& [name, n] : norms) {
    std::vector<double> sums = {n.difference, n.reference};
    ASSERT_TRUE(
        world.AllReduce(ViewOf(absl::MakeSpan(sums)), ReduceOp::kSum).ok());
    EXPECT_GT(sums[1], 0) << name;
    EXPECT_LE(std::sqrt(sums[0] / sums[1]), bound) << what << " of " << name;
  }
}

TEST_P(LayoutTest, FirstGradientsAndTwentyStepsAreThoseOfOneRank) {
  TestTrainer ours(Config(), /*alone=*/false);
  TestTrainer alone(ConfigAlone(), /*alone=*/true);
  for (int step = 1; step <= 20; ++step) {
    const absl::StatusOr<StepReport> a = ours->TrainStep();
    const absl::StatusOr<StepReport> b = alone->TrainStep();
    ASSERT_TRUE(a.ok()) << a.status();
    ASSERT_TRUE(b.ok()) << b.status();
    if (step == 1) {
      ExpectWithin(CompareGradients(ours, alone), GradientBound(), "gradient",
                   ours.world());
    }
    SCOPED_TRACE(step);
    if (IsFloat32()) {
      EXPECT_TRUE(std::equal(ours->expert_counts().begin(),
                             ours->expert_counts().end(),
                             alone->expert_counts().begin()))
          << "tokens went to other experts";
    }
    const double loss = b->losses.cross_entropy;
    EXPECT_NEAR(a->losses.cross_entropy / loss, 1, LossBound());
    EXPECT_NEAR(a->losses.aux / b->losses.aux, 1, 10 * LossBound());
    EXPECT_NEAR(a->losses.z / b->losses.z, 1, 10 * LossBound());
    EXPECT_NEAR(a->grad_norm / b->grad_norm, 1, 10 * LossBound());
  }
  ExpectWithin(CompareWeights(ours, alone), WeightBound(), "weights",
               ours.world());
}

TEST_P(LayoutTest, TwoRunsAgreeBitForBit) {
  TestTrainer first(Config(), /*alone=*/false);
  TestTrainer second(Config(), /*alone=*/false);
  for (int step = 1; step <= 5; ++step) {
    const absl::StatusOr<StepReport> a = first->TrainStep();
    const absl::StatusOr<StepReport> b = second->TrainStep();
    ASSERT_TRUE(a.ok() && b.ok());
    EXPECT_EQ(a->losses.cross_entropy, b->losses.cross_entropy);
    EXPECT_EQ(a->losses.aux, b->losses.aux);
    EXPECT_EQ(a->grad_norm, b->grad_norm);
  }
  for (ArenaKind kind : kAllArenaKinds) {
    const Tensor a = first->weights().arena(kind);
    const Tensor b = second->weights().arena(kind);
    EXPECT_EQ(std::memcmp(a.raw(), b.raw(),
                          static_cast<size_t>(a.size() * SizeOf(a.dtype()))),
              0);
  }
}

constexpr RouterConfig::AuxLossScope kMicroBatch = RouterConfig::MICRO_BATCH;

INSTANTIATE_TEST_SUITE_P(
    Layouts, LayoutTest,
    testing::Values(
        Layout{"OneRankMicro1", 1, 1, 1}, Layout{"OneRankMicro3", 1, 1, 3},
        Layout{"ThreeRanks", 3, 0, 0}, Layout{"ThreeRanksMicro2", 3, 0, 2},
        Layout{.name = "ThreeRanksExpert3",
               .world = 3,
               .expert = 3,
               .micro_size = 0,
               .experts = 12},
        Layout{"Data4", 4, 1, 0}, Layout{"Data4Micro1", 4, 1, 1},
        Layout{"Expert4", 4, 4, 0}, Layout{"Expert4Micro1", 4, 4, 1},
        Layout{"Expert2", 4, 2, 0},
        Layout{"Expert4MicroBatchScope", 4, 4, 0, kMicroBatch},
        Layout{"Data4MicroBatchScope", 4, 1, 0, kMicroBatch},
        Layout{"Expert4BFloat16", 4, 4, 0, RouterConfig::SEQUENCE,
               RunConfig::BFLOAT16},
        Layout{"SixteenRanks", 16, 0, 0},
        Layout{.name = "SixteenRanksFewSequences",
               .world = 16,
               .expert = 0,
               .micro_size = 0,
               .global_size = 5}),
    CaseName);

}  // namespace
}  // namespace moe
