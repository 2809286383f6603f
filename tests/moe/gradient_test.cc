#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "moe/model_config.h"
#include "tests/golden_file.h"
#include "tests/moe/network_cases.h"
#include "tests/moe/reference_model.h"
#include "tests/moe/test_network.h"

namespace moe {
namespace {

using reference::Tokens;

// Every gradient of our network, by name, against the double-precision
// reference, over two micro-steps of unlike size of one global batch.
class GradientTest : public testing::TestWithParam<NetworkCase> {
 protected:
  GradientTest()
      : model_(SmallModel(GetParam())), router_(SmallRouter(GetParam())) {}

  // Of some weights and batches, those with the clearest choice of experts:
  // none may hang on rounding.
  // The tokens are cut into documents of these lengths, if any.
  void ChooseClearBatch(double wanted_margin,
                        const std::vector<size_t>& documents = {}) {
    for (uint32_t seed = 1; seed <= 40 && margin_ < wanted_margin; ++seed) {
      const reference::Tensors weights = RandomWeights(model_, seed);
      std::vector<Tokens> steps = {RandomTokens(model_, 3, 5, seed),
                                   RandomTokens(model_, 1, 5, seed + 99)};
      for (Tokens& step : steps) {
        if (!documents.empty()) CutIntoDocuments(step, documents);
      }
      const double margin = RoutingMargin(reference::Compute(
          model_, router_, weights, steps, /*backward=*/false));
      if (margin <= margin_) continue;
      margin_ = margin;
      weights_ = weights;
      steps_ = steps;
    }
  }

  // Rounds what is kept in bfloat16, so that both start from the same numbers.
  void RoundWeights(const TestNetwork& network) {
    weights_ = GetParameters(network.table(), network.weights());
  }

  struct Bounds {
    double loss;
    double gradient;  // of each tensor
    double all_gradients;
  };

  void ExpectNear(const TestNetwork& network, const Bounds& bounds) {
    const reference::Result expected = reference::Compute(
        model_, router_, weights_, steps_, /*backward=*/true);
    EXPECT_EQ(NumDropped(expected) > 0, GetParam().capacity_factor > 0);
    EXPECT_NEAR(network.losses().cross_entropy, expected.losses.cross_entropy,
                bounds.loss);
    EXPECT_NEAR(network.losses().aux, expected.losses.aux, bounds.loss);
    EXPECT_NEAR(network.losses().z, expected.losses.z, bounds.loss);
    const NamedTensors gradients = network.Gradients();
    ASSERT_EQ(gradients.size(), expected.gradients.size());
    for (const auto& [name, gradient] : expected.gradients) {
      EXPECT_LT(RelativeDifference(gradients.at(name), gradient),
                bounds.gradient)
          << name;
    }
    EXPECT_LT(RelativeDifference(Joined(gradients), Joined(expected.gradients)),
              bounds.all_gradients);
  }

  static std::vector<double> Joined(const NamedTensors& tensors) {
    std::vector<double> all;
    for (const auto& [name, values] : tensors)
      all.insert(all.end(), values.begin(), values.end());
    return all;
  }

  ModelConfig model_;
  RouterConfig router_;
  double margin_ = -1;
  reference::Tensors weights_;
  std::vector<Tokens> steps_;
};

std::string CaseName(const testing::TestParamInfo<NetworkCase>& info) {
  return NameOf(info.param);
}

TEST_P(GradientTest, InFloat32AreThoseOfTheReference) {
  ASSERT_TRUE(ValidateModel(model_).ok());
  ASSERT_TRUE(ValidateRouter(router_).ok());
  ChooseClearBatch(1e-4);
  TestNetwork network(model_, router_, DType::kFloat32);
  network.SetWeights(weights_);
  ASSERT_TRUE(network.Train(steps_).ok());
  ExpectNear(network, {.loss = 1e-6, .gradient = 1e-5, .all_gradients = 1e-6});
}

INSTANTIATE_TEST_SUITE_P(AllCombinations, GradientTest,
                         testing::ValuesIn(AllNetworkCases()), CaseName);

// bfloat16 keeps eight bits of each activation and of its gradient.
class BFloat16GradientTest : public GradientTest {};

TEST_P(BFloat16GradientTest, AreNearThoseOfTheReference) {
  ChooseClearBatch(1);
  TestNetwork network(model_, router_, DType::kBFloat16);
  network.SetWeights(weights_);
  RoundWeights(network);
  ASSERT_TRUE(network.Train(steps_).ok());
  ExpectNear(network, {.loss = 0.02, .gradient = 0.08, .all_gradients = 0.02});
}

constexpr NetworkCase kBFloat16Cases[] = {
    {.top_k = 1, .renormalize = false, .z_loss = true},
    {.top_k = 2, .renormalize = true},
    {.top_k = 2, .renormalize = false, .tied = true},
    {.top_k = 2,
     .capacity_factor = kTightCapacity,
     .drop_policy = RouterConfig::POSITION},
    {.semantics = RouterConfig::HF_MIXTRAL,
     .scope = RouterConfig::MICRO_BATCH,
     .top_k = 3,
     .renormalize = true,
     .z_loss = true}};

INSTANTIATE_TEST_SUITE_P(SomeCombinations, BFloat16GradientTest,
                         testing::ValuesIn(kBFloat16Cases), CaseName);

// Longer than a block of attention, whatever its size.
class LongSequenceGradientTest : public GradientTest {};

TEST_P(LongSequenceGradientTest, AreThoseOfTheReference) {
  weights_ = RandomWeights(model_, 3);
  steps_ = {RandomTokens(model_, 2, 149, 4)};
  ASSERT_GT(RoutingMargin(reference::Compute(model_, router_, weights_, steps_,
                                             /*backward=*/false)),
            1e-5);
  TestNetwork network(model_, router_, DType::kFloat32);
  network.SetWeights(weights_);
  ASSERT_TRUE(network.Train(steps_).ok());
  ExpectNear(network, {.loss = 1e-6, .gradient = 1e-5, .all_gradients = 1e-6});
}

constexpr NetworkCase kLongCases[] = {
    {},
    {.capacity_factor = kTightCapacity},
    {.capacity_factor = kTightCapacity, .drop_policy = RouterConfig::POSITION}};

INSTANTIATE_TEST_SUITE_P(SomeCombinations, LongSequenceGradientTest,
                         testing::ValuesIn(kLongCases), CaseName);

// Documents of one token, of several, and cut by the end of a sequence.
class DocumentsGradientTest : public GradientTest {};

TEST_P(DocumentsGradientTest, InFloat32AreThoseOfTheReference) {
  ChooseClearBatch(1e-4, {1, 3, 2, 1, 4});
  TestNetwork network(model_, router_, DType::kFloat32);
  network.SetWeights(weights_);
  ASSERT_TRUE(network.Train(steps_).ok());
  ExpectNear(network, {.loss = 1e-6, .gradient = 1e-5, .all_gradients = 1e-6});
}

TEST_P(DocumentsGradientTest, InBFloat16AreNearThoseOfTheReference) {
  ChooseClearBatch(1, {1, 3, 2, 1, 4});
  TestNetwork network(model_, router_, DType::kBFloat16);
  network.SetWeights(weights_);
  RoundWeights(network);
  ASSERT_TRUE(network.Train(steps_).ok());
  ExpectNear(network, {.loss = 0.02, .gradient = 0.08, .all_gradients = 0.02});
}

TEST_P(DocumentsGradientTest, InLongSequencesAreThoseOfTheReference) {
  weights_ = RandomWeights(model_, 3);
  steps_ = {RandomTokens(model_, 2, 149, 4)};
  CutIntoDocuments(steps_[0], {31, 2, 64, 1, 100, 7});
  ASSERT_GT(RoutingMargin(reference::Compute(model_, router_, weights_, steps_,
                                             /*backward=*/false)),
            1e-5);
  TestNetwork network(model_, router_, DType::kFloat32);
  network.SetWeights(weights_);
  ASSERT_TRUE(network.Train(steps_).ok());
  ExpectNear(network, {.loss = 1e-6, .gradient = 1e-5, .all_gradients = 1e-6});
}

constexpr NetworkCase kDocumentCases[] = {
    {.top_k = 2, .z_loss = true, .tied = true},
    {.scope = RouterConfig::MICRO_BATCH,
     .top_k = 1,
     .renormalize = false,
     .z_loss = true}};

INSTANTIATE_TEST_SUITE_P(SomeCombinations, DocumentsGradientTest,
                         testing::ValuesIn(kDocumentCases), CaseName);

// The gates' gradient by the language-model loss alone.
double GateGradient(bool renormalize) {
  const ModelConfig model = SmallModel({.top_k = 1});
  RouterConfig router;
  router.set_aux_loss_coefficient(0);
  router.set_renormalize(renormalize);
  TestNetwork network(model, router, DType::kFloat32);
  network.SetWeights(RandomWeights(model, 7));
  EXPECT_TRUE(network.Train({RandomTokens(model, 3, 5, 8)}).ok());
  double largest = 0;
  for (const auto& [name, gradient] : network.Gradients()) {
    if (name.find("gate") == std::string::npos) continue;
    for (double value : gradient) largest = std::max(largest, std::abs(value));
  }
  return largest;
}

TEST(TopOneRouter, LearnsFromTheLossOnlyWithoutRenormalisation) {
  EXPECT_EQ(GateGradient(/*renormalize=*/true), 0);
  EXPECT_GT(GateGradient(/*renormalize=*/false), 1e-4);
}

}  // namespace
}  // namespace moe
