// With positions that begin anew at documents, what a document teaches does not
// depend on what it is packed with.
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/golden_file.h"
#include "tests/moe/network_cases.h"
#include "tests/moe/reference_model.h"
#include "tests/moe/test_network.h"

namespace moe {
namespace {

using reference::Tokens;

const std::vector<size_t> kLengths = {1, 40, 2, 33, 64, 10};  // 150 tokens

class DocumentsTest : public testing::TestWithParam<DType> {
 protected:
  // Cross-entropy alone: the other losses are those of sequences.
  DocumentsTest()
      : model_(SmallModel({})),
        network_(model_, Router(), GetParam()),
        packed_(RandomTokens(model_, 1, 150, 2)) {
    network_.SetWeights(RandomWeights(model_, 1));
    CutIntoDocuments(packed_, kLengths);
    scale_ = ScaleOf({packed_}, 0);
  }

  static RouterConfig Router() {
    RouterConfig router;
    router.set_aux_loss_coefficient(0);
    return router;
  }

  // Document i in its place, all other targets taken away.
  Tokens OnlyTargetsOf(size_t i) const {
    Tokens tokens = packed_;
    for (size_t t = 0; t < tokens.targets.size(); ++t) {
      if (t < Begin(i) || t >= Begin(i + 1)) tokens.targets[t] = -1;
    }
    return tokens;
  }

  // Document i alone in its sequence, then padding.
  Tokens Alone(size_t i) const {
    Tokens tokens = {.inputs = std::vector<int32_t>(150, 3),
                     .targets = std::vector<int32_t>(150, -1),
                     .length = 150};
    for (size_t t = 0; t < kLengths[i]; ++t) {
      tokens.inputs[t] = packed_.inputs[Begin(i) + t];
      tokens.targets[t] = packed_.targets[Begin(i) + t];
    }
    return tokens;
  }

  static size_t Begin(size_t i) {
    size_t begin = 0;
    for (size_t j = 0; j < i; ++j) begin += kLengths[j];
    return begin;
  }

  double Loss(const Tokens& tokens) {
    network_.Clear();
    EXPECT_TRUE(network_.Evaluate(tokens, scale_).ok());
    return network_.losses().cross_entropy;
  }

  ModelConfig model_;
  TestNetwork network_;
  Tokens packed_;
  BatchScale scale_;
};

TEST_P(DocumentsTest, ADocumentsLossIsThatOfTheDocumentAlone) {
  const double bound = GetParam() == DType::kFloat32 ? 1e-6 : 5e-3;
  for (size_t i = 1; i < kLengths.size(); ++i) {  // the first has no target
    const double alone = Loss(Alone(i));
    EXPECT_GT(alone, 0);
    EXPECT_NEAR(Loss(OnlyTargetsOf(i)) / alone, 1, bound) << "document " << i;
  }
}

TEST_P(DocumentsTest, GradientsAreTheSumOfThoseOfTheDocumentsAlone) {
  ASSERT_TRUE(network_.Step(packed_, scale_).ok());
  const NamedTensors packed = network_.Gradients();
  network_.Clear();
  for (size_t i = 0; i < kLengths.size(); ++i)
    ASSERT_TRUE(network_.Step(Alone(i), scale_).ok());
  for (const auto& [name, gradient] : network_.Gradients()) {
    EXPECT_LT(RelativeDifference(packed.at(name), gradient),
              GetParam() == DType::kFloat32 ? 1e-5 : 2e-2)
        << name;
  }
}

// Experts are chosen by place here: a free router would send other tokens
// elsewhere, and on some processors the last bit of a row of an expert's
// product depends on which row of its batch it is.
TEST_P(DocumentsTest, OtherDocumentsChangeNoBitOfALoss) {
  RouterConfig router = Router();
  router.set_force_balance(true);
  TestNetwork network(model_, router, GetParam());
  network.SetWeights(RandomWeights(model_, 1));
  const auto loss = [&](const Tokens& tokens) {
    network.Clear();
    EXPECT_TRUE(network.Evaluate(tokens, scale_).ok());
    return network.losses().cross_entropy;
  };
  for (size_t i = 1; i < kLengths.size(); ++i) {
    const Tokens before = OnlyTargetsOf(i);
    Tokens after = before;
    for (size_t t = 0; t < after.inputs.size(); ++t) {
      if (t < Begin(i) || t >= Begin(i + 1))
        after.inputs[t] = (after.inputs[t] + 5) % model_.vocab_size();
    }
    EXPECT_EQ(loss(after), loss(before)) << "document " << i;
    EXPECT_NEAR(Loss(after) / Loss(before), 1, 1e-6) << "document " << i;
  }
}

TEST_P(DocumentsTest, ABatchWithoutTargetsHasNoLossAndNoGradient) {
  Tokens tokens = packed_;
  tokens.targets.assign(tokens.targets.size(), -1);
  ASSERT_TRUE(network_.Step(tokens, ScaleOf({tokens}, 0)).ok());
  EXPECT_EQ(network_.losses().cross_entropy, 0);
  for (const auto& [name, gradient] : network_.Gradients())
    EXPECT_THAT(gradient, testing::Each(0)) << name;
}

std::string DTypeName(const testing::TestParamInfo<DType>& parameter) {
  return parameter.param == DType::kFloat32 ? "float32" : "bfloat16";
}

INSTANTIATE_TEST_SUITE_P(, DocumentsTest,
                         testing::Values(DType::kFloat32, DType::kBFloat16),
                         DTypeName);

}  // namespace
}  // namespace moe
