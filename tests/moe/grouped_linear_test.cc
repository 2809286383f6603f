#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/moe/linear_reference.h"

// Letters: R rows, e experts, O outputs, I inputs.

namespace moe {
namespace {

constexpr int64_t kOutputs = 33;
constexpr int64_t kInputs = 23;

// Offsets of e + 1 elements.
using Offsets = std::vector<int64_t>;

const std::vector<Offsets> kCases = {
    {0, 7},                          // one expert
    {0, 0, 0, 0},                    // no rows at all
    {0, 1, 8, 41},                   // odd
    {0, 0, 33, 33, 40, 40},          // empty experts at both ends and between
    {0, 0, 0, 1100, 1100},           // one expert with everything
    {0, 256, 513, 514, 514, 1026}};  // around whole tiles

class GroupedLinearTest : public KernelTest {
 protected:
  static int64_t Experts(const Offsets& offsets) {
    return static_cast<int64_t>(offsets.size()) - 1;
  }
  TestTensor X(const Offsets& offsets) {
    return RandomTensor({offsets.back(), kInputs}, GetParam(), 1);
  }
  TestTensor W(const Offsets& offsets) {
    return RandomTensor({Experts(offsets), kOutputs, kInputs}, GetParam(), 2);
  }
  TestTensor Y(const Offsets& offsets) {
    return RandomTensor({offsets.back(), kOutputs}, GetParam(), 3);
  }
  static std::vector<LinearPart> Parts(const Offsets& offsets) {
    std::vector<LinearPart> parts;
    for (size_t e = 0; e + 1 < offsets.size(); ++e) {
      parts.push_back({offsets[e], offsets[e + 1], static_cast<int64_t>(e),
                       kOutputs, kInputs});
    }
    return parts;
  }
  static std::string Describe(const Offsets& offsets) {
    return absl::StrCat("offsets ", absl::StrJoin(offsets, " "));
  }
  void TearDown() override {
    EXPECT_TRUE(context().status().ok()) << context().status();
  }
};

TEST_P(GroupedLinearTest, ForwardTakesEachRowThroughItsExpert) {
  for (const Offsets& offsets : kCases) {
    const TestTensor x = X(offsets);
    const TestTensor w = W(offsets);
    TestTensor y({offsets.back(), kOutputs}, GetParam());
    y.Fill(77);
    std::vector<double> expected(static_cast<size_t>(y.size()));
    for (const LinearPart& part : Parts(offsets))
      AddForward(expected, x.Values(), w.Values(), part);
    context().GroupedLinearForward(y, x, w, offsets);
    ExpectRounded(y, expected, Describe(offsets));
  }
}

TEST_P(GroupedLinearTest, InputGradientTakesEachRowBackThroughItsExpert) {
  for (const Offsets& offsets : kCases) {
    const TestTensor d_y = Y(offsets);
    const TestTensor w = W(offsets);
    TestTensor d_x({offsets.back(), kInputs}, GetParam());
    d_x.Fill(77);
    std::vector<double> expected(static_cast<size_t>(d_x.size()));
    for (const LinearPart& part : Parts(offsets))
      AddInputGradient(expected, d_y.Values(), w.Values(), part);
    context().GroupedLinearInputGradient(d_x, d_y, w, offsets);
    ExpectRounded(d_x, expected, Describe(offsets));
  }
}

TEST_P(GroupedLinearTest, WeightGradientAddsEachExpertsRowsToItsWeights) {
  for (const Offsets& offsets : kCases) {
    const TestTensor d_y = Y(offsets);
    const TestTensor x = X(offsets);
    TestTensor d_w =
        RandomTensor({Experts(offsets), kOutputs, kInputs}, DType::kFloat32, 4);
    std::vector<double> expected = d_w.Values();
    for (const LinearPart& part : Parts(offsets))
      AddWeightGradient(expected, d_y.Values(), x.Values(), part);
    context().GroupedLinearWeightGradient(d_w, d_y, x, offsets);
    ExpectRounded(d_w, expected, Describe(offsets));
  }
}

TEST_P(GroupedLinearTest, AnExpertWithoutRowsKeepsItsGradient) {
  const Offsets offsets = {0, 0, 33, 33};
  const TestTensor d_y = Y(offsets);
  const TestTensor x = X(offsets);
  TestTensor d_w = RandomTensor({3, kOutputs, kInputs}, DType::kFloat32, 4);
  const std::vector<double> before = d_w.Values();
  context().GroupedLinearWeightGradient(d_w, d_y, x, offsets);
  const size_t expert = static_cast<size_t>(kOutputs * kInputs);
  for (size_t i = 0; i < expert; ++i) {
    ASSERT_EQ(d_w.Get(static_cast<int64_t>(i)), before[i]);
    ASSERT_EQ(d_w.Get(static_cast<int64_t>(2 * expert + i)),
              before[2 * expert + i]);
  }
}

// An expert's rows are its own business: who its neighbours are changes no bit.
TEST_P(GroupedLinearTest, NeighboursChangeNothing) {
  const Offsets alone = {0, 0, 33};
  const Offsets together = {0, 40, 73};
  const TestTensor w = W(alone);
  const TestTensor x = X(together);
  TestTensor y_together({73, kOutputs}, GetParam());
  TestTensor y_alone({33, kOutputs}, GetParam());
  context().GroupedLinearForward(y_together, x, w, together);
  context().GroupedLinearForward(y_alone, x.view().Rows(40, 33), w, alone);
  for (int64_t i = 0; i < y_alone.size(); ++i)
    ASSERT_EQ(y_alone.Get(i), y_together.Get(40 * kOutputs + i));
}

INSTANTIATE_BOTH_DTYPES(GroupedLinearTest);

}  // namespace
}  // namespace moe
