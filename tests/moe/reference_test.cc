#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/golden_file.h"
#include "tests/moe/network_cases.h"
#include "tests/moe/reference_model.h"

namespace moe {
namespace {

using reference::Result;
using reference::Tensors;
using reference::Tokens;

// The reference is itself held to finite differences and to transformers, so
// that what agrees with it is right.
class ReferenceTest : public testing::TestWithParam<NetworkCase> {};

std::string CaseName(const testing::TestParamInfo<NetworkCase>& info) {
  return NameOf(info.param);
}

Tensors Moved(const Tensors& weights, const std::string& name,
              const reference::Vector& direction, double step) {
  Tensors moved = weights;
  for (size_t i = 0; i < direction.size(); ++i)
    moved[name][i] += step * direction[i];
  return moved;
}

reference::Vector RandomDirection(size_t size, std::mt19937& generator) {
  std::normal_distribution<double> normal;
  reference::Vector direction(size);
  for (double& value : direction) value = normal(generator);
  const double norm = std::sqrt(reference::Dot(direction, direction));
  for (double& value : direction) value /= norm;
  return direction;
}

TEST_P(ReferenceTest, GradientsAreFiniteDifferencesOfTheTotalLoss) {
  const ModelConfig model = SmallModel(GetParam());
  const RouterConfig router = SmallRouter(GetParam());
  const Tensors weights = RandomWeights(model, 1);
  const std::vector<Tokens> steps = {RandomTokens(model, 2, 3, 2),
                                     RandomTokens(model, 1, 3, 3)};
  const Result result =
      reference::Compute(model, router, weights, steps, /*backward=*/true);
  // Which expert is chosen has no derivative: no step may change it.
  ASSERT_GT(RoutingMargin(result), 1e-4);
  std::mt19937 generator(4);
  constexpr double kStep = 1e-5;
  for (const auto& [name, gradient] : result.gradients) {
    const reference::Vector direction =
        RandomDirection(gradient.size(), generator);
    auto loss = [&](double step) {
      return reference::Total(
          reference::Compute(model, router,
                             Moved(weights, name, direction, step), steps,
                             /*backward=*/false)
              .losses,
          router);
    };
    const double slope = (loss(kStep) - loss(-kStep)) / (2 * kStep);
    const double size = std::sqrt(reference::Dot(gradient, gradient));
    EXPECT_NEAR(slope, reference::Dot(gradient, direction), 1e-6 * size + 1e-9)
        << name;
  }
}

INSTANTIATE_TEST_SUITE_P(AllCombinations, ReferenceTest,
                         testing::ValuesIn(AllNetworkCases()), CaseName);

std::string GoldenName(const testing::TestParamInfo<std::string>& info) {
  return info.param;
}

class ReferenceGoldenTest : public testing::TestWithParam<std::string> {};

TEST_P(ReferenceGoldenTest, EqualsTransformersInDoublePrecision) {
  const GoldenFile golden(GetParam());
  const Result result =
      reference::Compute(golden.model(), golden.router(),
                         golden.Below("weight/"), {GoldenTokens(golden)},
                         /*backward=*/true);
  // The file's rounding to float32 is all that is left.
  EXPECT_NEAR(result.losses.cross_entropy, golden["loss"][0], 1e-6);
  EXPECT_NEAR(result.losses.aux, golden["aux_loss"][0], 1e-6);
  reference::Vector logits;
  for (const reference::Vector& token : result.logits)
    logits.insert(logits.end(), token.begin(), token.end());
  EXPECT_LT(RelativeDifference(logits, golden["logits"]), 1e-7);
  const NamedTensors gradients = golden.Below("grad/");
  ASSERT_EQ(gradients.size(), result.gradients.size());
  for (const auto& [name, gradient] : gradients) {
    EXPECT_LT(RelativeDifference(result.gradients.at(name), gradient), 1e-7)
        << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Files, ReferenceGoldenTest,
                         testing::Values("mixtral_tiny", "mixtral_tied"),
                         GoldenName);

}  // namespace
}  // namespace moe
