#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/golden_file.h"
#include "tests/moe/network_cases.h"
#include "tests/moe/test_network.h"

namespace moe {
namespace {

// Our network in float32 against transformers in float64: weights, tokens,
// logits, losses and every gradient by name.
class GoldenTest : public testing::TestWithParam<std::string> {
 protected:
  GoldenTest()
      : golden_(GetParam()),
        network_(golden_.model(), golden_.router(), DType::kFloat32,
                 /*threads=*/2),
        tokens_(GoldenTokens(golden_)) {
    network_.SetWeights(golden_.Below("weight/"));
  }

  GoldenFile golden_;
  TestNetwork network_;
  reference::Tokens tokens_;
};

TEST_P(GoldenTest, LogitsAreThoseOfTransformers) {
  const int64_t rows = static_cast<int64_t>(tokens_.inputs.size());
  EXPECT_LT(
      RelativeDifference(network_.Logits(tokens_, 0, rows), golden_["logits"]),
      1e-5);
}

TEST_P(GoldenTest, LossesAreThoseOfTransformers) {
  ASSERT_TRUE(network_.Train({tokens_}).ok());
  EXPECT_NEAR(network_.losses().cross_entropy, golden_["loss"][0], 1e-5);
  EXPECT_NEAR(network_.losses().aux, golden_["aux_loss"][0], 1e-5);
}

TEST_P(GoldenTest, EveryGradientIsThatOfTransformers) {
  ASSERT_TRUE(network_.Train({tokens_}).ok());
  const NamedTensors gradients = network_.Gradients();
  const NamedTensors expected = golden_.Below("grad/");
  ASSERT_EQ(gradients.size(), expected.size());
  // transformers' own float32 is 1.3e-6 from it.
  for (const auto& [name, gradient] : expected) {
    EXPECT_LT(RelativeDifference(gradients.at(name), gradient), 1e-5) << name;
  }
}

std::string FileName(const testing::TestParamInfo<std::string>& info) {
  return info.param;
}

INSTANTIATE_TEST_SUITE_P(Files, GoldenTest,
                         testing::Values("mixtral_tiny", "mixtral_tied"),
                         FileName);

}  // namespace
}  // namespace moe
