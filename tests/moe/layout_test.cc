#include <algorithm>
#include <string>
#include <vector>

#include "comm/base/buffer.h"
#include "comm/mpi/mpi_group.h"
#include "comm/process_groups.h"
#include "gtest/gtest.h"
#include "tests/golden_file.h"
#include "tests/moe/network_cases.h"
#include "tests/moe/reference_model.h"
#include "tests/moe/test_network.h"
#include "tests/mpi_test.h"

namespace moe {
namespace {

using reference::Tokens;

constexpr size_t kLength = 8;
constexpr size_t kSequences = 7;  // more than some ranks, fewer than others
constexpr size_t kMicroSize = 2;

// The losses and gradients of one global batch, whatever the ranks.
class LayoutTest : public testing::TestWithParam<NetworkCase> {
 protected:
  LayoutTest()
      : world_(TestRuntime().world()),
        model_(SmallModel(GetParam())),
        router_(SmallRouter(GetParam())) {
    model_.set_num_local_experts(8);
    model_.set_num_key_value_heads(4);
    ChooseClearBatch();
  }

  // No choice of an expert may hang on rounding.
  void ChooseClearBatch() {
    double margin = 0;
    for (uint32_t seed = 5; margin < 1e-5; ++seed) {
      weights_ = RandomWeights(model_, seed);
      batch_ = RandomTokens(model_, kSequences, kLength, seed + 99);
      margin = RoutingMargin(reference::Compute(model_, router_, weights_,
                                                {batch_}, /*backward=*/false));
    }
  }

  // Sequences [begin, end) of the batch.
  Tokens Sequences(size_t begin, size_t end) const {
    auto cut = [=](const std::vector<int32_t>& ids) {
      return std::vector<int32_t>(
          ids.begin() + static_cast<ptrdiff_t>(begin * kLength),
          ids.begin() + static_cast<ptrdiff_t>(end * kLength));
    };
    return {cut(batch_.inputs), cut(batch_.targets), kLength};
  }

  // What data rank `rank` of `ranks` has in micro-step `step`: maybe nothing.
  Tokens Share(size_t rank, size_t ranks, size_t step) const {
    const size_t end = (rank + 1) * kSequences / ranks;
    const size_t begin =
        std::min(end, rank * kSequences / ranks + step * kMicroSize);
    return Sequences(begin, std::min(end, begin + kMicroSize));
  }

  // The micro-steps as one rank would have them: the shares of all data ranks
  // together.
  std::vector<Tokens> MicroSteps(size_t ranks) const {
    std::vector<Tokens> steps;
    while (true) {
      Tokens all = {{}, {}, kLength};
      for (size_t rank = 0; rank < ranks; ++rank) {
        const Tokens share = Share(rank, ranks, steps.size());
        all.inputs.insert(all.inputs.end(), share.inputs.begin(),
                          share.inputs.end());
        all.targets.insert(all.targets.end(), share.targets.begin(),
                           share.targets.end());
      }
      if (all.inputs.empty()) return steps;
      steps.push_back(all);
    }
  }

  TestNetwork MakeNetwork(const Mesh& mesh) const {
    return TestNetwork(model_, router_, DType::kFloat32, mesh,
                       TestRuntime().rank(),
                       MakeMpiGroups(TestRuntime(), mesh).value());
  }

  // Runs this rank's part of the batch and sums over the groups.
  void RunOnMesh(TestNetwork& network, const std::vector<Tokens>& steps) {
    network.SetWeights(weights_);
    const ProcessGroup& data = network.groups()[Axis::kData];
    const size_t rank = static_cast<size_t>(data.rank());
    const size_t ranks = static_cast<size_t>(data.size());
    for (size_t i = 0; i < steps.size(); ++i)
      ASSERT_TRUE(network.Step(Share(rank, ranks, i), ScaleOf(steps, i)).ok());
    for (ArenaKind kind : kTrainedArenaKinds) {
      ASSERT_TRUE(
          network.groups()
              .device(ReductionAxis(kind))
              .AllReduce(network.gradients().arena(kind).View(), ReduceOp::kSum)
              .ok());
    }
  }

  std::vector<double> SummedLosses(const TestNetwork& network) {
    const LossTerms& mine = network.losses();
    std::vector<double> sums = {mine.cross_entropy, mine.aux, mine.z};
    EXPECT_TRUE(network.groups()
                    .world()
                    .AllReduce(ViewOf(absl::MakeSpan(sums)), ReduceOp::kSum)
                    .ok());
    return sums;
  }

  void ExpectReferencesGradientsOnEveryMesh();

  int world_;
  ModelConfig model_;
  RouterConfig router_;
  reference::Tensors weights_;
  Tokens batch_;
};

void LayoutTest::ExpectReferencesGradientsOnEveryMesh() {
  for (int tensor : {1, 2, 4}) {
    if (world_ % tensor != 0) continue;
    const std::vector<Tokens> steps =
        MicroSteps(static_cast<size_t>(world_ / tensor));
    const reference::Result expected =
        reference::Compute(model_, router_, weights_, steps, /*backward=*/true);
    for (int expert = 1; expert <= std::min(8, world_); expert *= 2) {
      SCOPED_TRACE("tensor " + std::to_string(tensor) + ", expert " +
                   std::to_string(expert));
      TestNetwork network =
          MakeNetwork(Mesh::Create(world_, tensor, expert, 8).value());
      RunOnMesh(network, steps);
      const std::vector<double> losses = SummedLosses(network);
      EXPECT_NEAR(losses[0], expected.losses.cross_entropy, 1e-6);
      EXPECT_NEAR(losses[1], expected.losses.aux, 1e-6);
      EXPECT_NEAR(losses[2], expected.losses.z, 1e-6);
      const NamedTensors gradients = network.Gradients();
      for (const Parameter& parameter : network.table().parameters()) {
        if (!parameter.local) continue;
        const std::string& name = parameter.name;
        EXPECT_LT(
            RelativeDifference(gradients.at(name),
                               SliceOf(parameter, expected.gradients.at(name))),
            1e-5)
            << name;
      }
    }
  }
}

TEST_P(LayoutTest, EveryMeshHasTheReferencesGradients) {
  ExpectReferencesGradientsOnEveryMesh();
}

TEST_P(LayoutTest, AfterTheFirstStepsNoBufferIsTaken) {
  for (int tensor : {1, 2}) {
    if (world_ % tensor != 0) continue;
    TestNetwork network =
        MakeNetwork(Mesh::Create(world_, tensor, 0, 8).value());
    const std::vector<Tokens> steps =
        MicroSteps(static_cast<size_t>(world_ / tensor));
    for (int i = 0; i < 3; ++i) RunOnMesh(network, steps);
    const int64_t buffers = Buffer::num_allocated();
    for (int i = 0; i < 7; ++i) RunOnMesh(network, steps);
    EXPECT_EQ(Buffer::num_allocated(), buffers);
  }
}

// With the scope SEQUENCE not even the micro-steps matter.
class SequenceLayoutTest : public LayoutTest {};

TEST_P(SequenceLayoutTest, OneMicroStepIsTheSameAsMany) {
  TestNetwork whole(model_, router_, DType::kFloat32);
  whole.SetWeights(weights_);
  ASSERT_TRUE(whole.Train({batch_}).ok());
  TestNetwork many(model_, router_, DType::kFloat32);
  many.SetWeights(weights_);
  ASSERT_TRUE(many.Train(MicroSteps(static_cast<size_t>(world_))).ok());
  EXPECT_NEAR(many.losses().aux, whole.losses().aux, 1e-6);
  const NamedTensors expected = whole.Gradients();
  for (const auto& [name, gradient] : many.Gradients())
    EXPECT_LT(RelativeDifference(gradient, expected.at(name)), 1e-5) << name;
}

constexpr NetworkCase kSequenceCases[] = {
    {.z_loss = true},
    {.top_k = 1, .renormalize = false, .z_loss = true, .tied = true},
    {.top_k = 3, .capacity_factor = kTightCapacity},
    {.capacity_factor = kTightCapacity, .drop_policy = RouterConfig::POSITION}};

std::string CaseName(const testing::TestParamInfo<NetworkCase>& info) {
  return NameOf(info.param);
}

// Every combination on up to two ranks; on more, where there are more meshes,
// some that have each value of each setting.
class EveryCaseLayoutTest : public LayoutTest {
 protected:
  void SetUp() override {
    if (world_ > 2) GTEST_SKIP() << "on 1 and 2 ranks only";
  }
};

TEST_P(EveryCaseLayoutTest, EveryMeshHasTheReferencesGradients) {
  ExpectReferencesGradientsOnEveryMesh();
}

std::vector<NetworkCase> SomeNetworkCases() {
  const std::vector<NetworkCase> all = AllNetworkCases();
  std::vector<NetworkCase> some;
  // A step that shares no factor with the number of values of any setting.
  for (size_t i = 0; i < all.size(); i += 13) some.push_back(all[i]);
  return some;
}

INSTANTIATE_TEST_SUITE_P(AllCombinations, EveryCaseLayoutTest,
                         testing::ValuesIn(AllNetworkCases()), CaseName);
INSTANTIATE_TEST_SUITE_P(SomeCombinations, LayoutTest,
                         testing::ValuesIn(SomeNetworkCases()), CaseName);
INSTANTIATE_TEST_SUITE_P(PerSequence, SequenceLayoutTest,
                         testing::ValuesIn(kSequenceCases), CaseName);

}  // namespace
}  // namespace moe
