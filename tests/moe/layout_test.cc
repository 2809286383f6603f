#include <algorithm>
#include <string>
#include <vector>

#include "comm/buffer.h"
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

constexpr size_t kLength = 5;
constexpr size_t kSequences = 7;  // more than some ranks, fewer than others
constexpr size_t kMicroSize = 2;

// The losses and gradients of one global batch, whatever the ranks.
class LayoutTest : public testing::TestWithParam<NetworkCase> {
 protected:
  LayoutTest()
      : rank_(static_cast<size_t>(TestRuntime().rank())),
        world_(static_cast<size_t>(TestRuntime().world())),
        model_(SmallModel(GetParam())),
        router_(SmallRouter(GetParam())) {
    model_.set_num_local_experts(8);
    weights_ = RandomWeights(model_, 5);
    batch_ = RandomTokens(model_, kSequences, kLength, 6);
    // No choice of an expert may hang on rounding.
    EXPECT_GT(RoutingMargin(reference::Compute(model_, router_, weights_,
                                               {batch_}, /*backward=*/false)),
              1e-5);
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

  // What rank `rank` has in micro-step `step`: maybe nothing.
  Tokens Share(size_t rank, size_t step) const {
    const size_t end = (rank + 1) * kSequences / world_;
    const size_t begin =
        std::min(end, rank * kSequences / world_ + step * kMicroSize);
    return Sequences(begin, std::min(end, begin + kMicroSize));
  }

  // The micro-steps as one rank would have them: all ranks' shares together.
  std::vector<Tokens> MicroSteps() const {
    std::vector<Tokens> steps;
    while (true) {
      Tokens all = {{}, {}, kLength};
      for (size_t rank = 0; rank < world_; ++rank) {
        const Tokens share = Share(rank, steps.size());
        all.inputs.insert(all.inputs.end(), share.inputs.begin(),
                          share.inputs.end());
        all.targets.insert(all.targets.end(), share.targets.begin(),
                           share.targets.end());
      }
      if (all.inputs.empty()) return steps;
      steps.push_back(all);
    }
  }

  // Runs this rank's part of the batch and sums over the groups.
  void RunOnMesh(TestNetwork& network, const std::vector<Tokens>& steps) {
    network.SetWeights(weights_);
    for (size_t i = 0; i < steps.size(); ++i)
      ASSERT_TRUE(network.Step(Share(rank_, i), ScaleOf(steps, i)).ok());
    for (ArenaKind kind : kAllArenaKinds) {
      ASSERT_TRUE(
          network.groups()[ReductionAxis(kind)]
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

  size_t rank_;
  size_t world_;
  ModelConfig model_;
  RouterConfig router_;
  reference::Tensors weights_;
  Tokens batch_;
};

TEST_P(LayoutTest, EveryMeshHasTheGradientsOfOneRank) {
  const std::vector<Tokens> steps = MicroSteps();
  TestNetwork one_rank(model_, router_, DType::kFloat32);
  one_rank.SetWeights(weights_);
  ASSERT_TRUE(one_rank.Train(steps).ok());
  const NamedTensors expected = one_rank.Gradients();

  for (size_t expert = 1; expert <= std::min<size_t>(8, world_); expert *= 2) {
    SCOPED_TRACE("expert_parallel " + std::to_string(expert));
    const Mesh mesh =
        Mesh::Create(static_cast<int>(world_), 1, static_cast<int>(expert), 8)
            .value();
    TestNetwork network(model_, router_, DType::kFloat32, mesh,
                        static_cast<int>(rank_),
                        ProcessGroups::Create(TestRuntime(), mesh).value());
    RunOnMesh(network, steps);
    const std::vector<double> losses = SummedLosses(network);
    EXPECT_NEAR(losses[0], one_rank.losses().cross_entropy, 1e-6);
    EXPECT_NEAR(losses[1], one_rank.losses().aux, 1e-6);
    EXPECT_NEAR(losses[2], one_rank.losses().z, 1e-6);
    const NamedTensors gradients = network.Gradients();
    for (const auto& [name, gradient] : gradients)
      EXPECT_LT(RelativeDifference(gradient, expected.at(name)), 1e-5) << name;
  }
}

TEST_P(LayoutTest, AfterTheFirstStepsNoBufferIsTaken) {
  const Mesh mesh = Mesh::Create(static_cast<int>(world_), 1, 0, 8).value();
  TestNetwork network(model_, router_, DType::kFloat32, mesh,
                      static_cast<int>(rank_),
                      ProcessGroups::Create(TestRuntime(), mesh).value());
  const std::vector<Tokens> steps = MicroSteps();
  for (int i = 0; i < 3; ++i) RunOnMesh(network, steps);
  const int64_t buffers = Buffer::num_allocated();
  for (int i = 0; i < 7; ++i) RunOnMesh(network, steps);
  EXPECT_EQ(Buffer::num_allocated(), buffers);
}

// With the scope SEQUENCE not even the micro-steps matter.
class SequenceLayoutTest : public LayoutTest {};

TEST_P(SequenceLayoutTest, OneMicroStepIsTheSameAsMany) {
  TestNetwork whole(model_, router_, DType::kFloat32);
  whole.SetWeights(weights_);
  ASSERT_TRUE(whole.Train({batch_}).ok());
  TestNetwork many(model_, router_, DType::kFloat32);
  many.SetWeights(weights_);
  ASSERT_TRUE(many.Train(MicroSteps()).ok());
  EXPECT_NEAR(many.losses().aux, whole.losses().aux, 1e-6);
  const NamedTensors expected = whole.Gradients();
  for (const auto& [name, gradient] : many.Gradients())
    EXPECT_LT(RelativeDifference(gradient, expected.at(name)), 1e-5) << name;
}

constexpr NetworkCase kSequenceCases[] = {
    {.z_loss = true},
    {.top_k = 1, .renormalize = false, .z_loss = true, .tied = true}};
constexpr NetworkCase kMicroBatchCases[] = {
    {.scope = RouterConfig::MICRO_BATCH, .top_k = 3, .renormalize = false},
    {.semantics = RouterConfig::HF_MIXTRAL,
     .scope = RouterConfig::MICRO_BATCH,
     .z_loss = true,
     .tied = true}};

std::string CaseName(const testing::TestParamInfo<NetworkCase>& info) {
  return NameOf(info.param);
}

INSTANTIATE_TEST_SUITE_P(PerSequence, LayoutTest,
                         testing::ValuesIn(kSequenceCases), CaseName);
INSTANTIATE_TEST_SUITE_P(PerMicroBatch, LayoutTest,
                         testing::ValuesIn(kMicroBatchCases), CaseName);
INSTANTIATE_TEST_SUITE_P(PerSequence, SequenceLayoutTest,
                         testing::ValuesIn(kSequenceCases), CaseName);

}  // namespace
}  // namespace moe
