#include "moe/layers/experts.h"

#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/golden_file.h"
#include "tests/moe/layer_test.h"
#include "tests/moe/reference_ops.h"

namespace moe {
namespace {

constexpr int64_t kExperts = 4;
constexpr int64_t kWidth = 5;
constexpr int64_t kHidden = 3;

// Where each expert's rows begin.
class ExpertsTest : public LayerTest,
                    public testing::WithParamInterface<std::vector<int64_t>> {
 protected:
  ExpertsTest() : offsets_(GetParam()), rows_(offsets_.back()) {
    weights_.gate_up_eGD =
        Scaled(MakeNumbers({kExperts, 2 * kHidden, kWidth}, 1));
    weights_.down_eDF = Scaled(MakeNumbers({kExperts, kWidth, kHidden}, 2));
    saved_tensors_.rows_RD = Scaled(MakeNumbers({rows_, kWidth}, 3));
    saved_tensors_.weight_R = Scaled(MakeNumbers({rows_}, 4));
    // An expert's w1 rows, then its w3 rows.
    for (int64_t e = 0; e < kExperts; ++e) {
      w1_.push_back(Values(weights_.gate_up_eGD[e].Rows(0, kHidden)));
      w3_.push_back(Values(weights_.gate_up_eGD[e].Rows(kHidden, kHidden)));
      w2_.push_back(Values(weights_.down_eDF[e]));
    }
  }

  static Tensor Scaled(const Tensor& x) {
    for (int64_t i = 0; i < x.size(); ++i) Set(x, i, 0.2f * Get(x, i));
    return x;
  }
  size_t ExpertOf(int64_t row) const {
    size_t e = 0;
    while (row >= offsets_[e + 1]) ++e;
    return e;
  }
  reference::ExpertWeights WeightsOf(size_t e) const {
    return {w1_[e], w2_[e], w3_[e]};
  }

  std::vector<int64_t> offsets_;
  int64_t rows_;
  LayerWeights weights_;
  ExpertsSaved saved_tensors_;
  std::vector<reference::Vector> w1_;
  std::vector<reference::Vector> w2_;
  std::vector<reference::Vector> w3_;
};

TEST_P(ExpertsTest, EachRowGoesThroughItsExpert) {
  Tensor out_RD;
  ASSERT_TRUE(
      ExpertsForward(context_, out_RD, saved_tensors_, weights_, offsets_)
          .ok());
  ASSERT_EQ(out_RD.dim(0), rows_);
  for (int64_t r = 0; r < rows_; ++r) {
    reference::Vector expected = reference::Expert(
        Values(saved_tensors_.rows_RD[r]), WeightsOf(ExpertOf(r)));
    for (double& value : expected) value *= Get(saved_tensors_.weight_R, r);
    ExpectNear(out_RD[r], expected, 1e-5);
  }
}

TEST_P(ExpertsTest, BackwardIsTheReferences) {
  const Tensor d_out_RD = Scaled(MakeNumbers({rows_, kWidth}, 5));
  LayerWeights gradients;  // are added to
  gradients.gate_up_eGD = MakeNumbers({kExperts, 2 * kHidden, kWidth}, 6);
  gradients.down_eDF = MakeNumbers({kExperts, kWidth, kHidden}, 7);
  std::vector<reference::Vector> d_w1;
  std::vector<reference::Vector> d_w2;
  std::vector<reference::Vector> d_w3;
  for (int64_t e = 0; e < kExperts; ++e) {
    d_w1.push_back(Values(gradients.gate_up_eGD[e].Rows(0, kHidden)));
    d_w3.push_back(Values(gradients.gate_up_eGD[e].Rows(kHidden, kHidden)));
    d_w2.push_back(Values(gradients.down_eDF[e]));
  }
  Tensor out_RD;
  Tensor d_rows_RD;
  Tensor d_weight_R;
  Tensor hidden_RF;
  ASSERT_TRUE(
      ExpertsForward(context_, out_RD, saved_tensors_, weights_, offsets_)
          .ok());
  ASSERT_TRUE(ExpertsInputGradients(context_, d_rows_RD, d_weight_R, hidden_RF,
                                    d_out_RD, saved_tensors_, weights_,
                                    offsets_)
                  .ok());
  ExpertsWeightGradients(context_, gradients, d_out_RD, hidden_RF,
                         saved_tensors_, offsets_);
  ASSERT_EQ(d_rows_RD.dim(0), rows_);
  for (int64_t r = 0; r < rows_; ++r) {
    const size_t e = ExpertOf(r);
    const reference::Vector x = Values(saved_tensors_.rows_RD[r]);
    reference::Vector d_out = Values(d_out_RD[r]);
    EXPECT_NEAR(Get(d_weight_R, r),
                reference::Dot(d_out, reference::Expert(x, WeightsOf(e))),
                1e-5);
    for (double& value : d_out) value *= Get(saved_tensors_.weight_R, r);
    ExpectNear(d_rows_RD[r],
               reference::ExpertBackward(d_out, x, WeightsOf(e),
                                         {d_w1[e], d_w2[e], d_w3[e]}),
               1e-5);
  }
  for (size_t e = 0; e < kExperts; ++e) {
    const Tensor d_gate_up = gradients.gate_up_eGD[static_cast<int64_t>(e)];
    ExpectNear(d_gate_up.Rows(0, kHidden), d_w1[e], 1e-5);
    ExpectNear(d_gate_up.Rows(kHidden, kHidden), d_w3[e], 1e-5);
    ExpectNear(gradients.down_eDF[static_cast<int64_t>(e)], d_w2[e], 1e-5);
  }
}

INSTANTIATE_TEST_SUITE_P(Even, ExpertsTest,
                         testing::Values(std::vector<int64_t>{0, 2, 4, 6, 8}));
INSTANTIATE_TEST_SUITE_P(SomeExpertsHaveNoRows, ExpertsTest,
                         testing::Values(std::vector<int64_t>{0, 0, 6, 6, 7}));
INSTANTIATE_TEST_SUITE_P(OneExpertHasAllRows, ExpertsTest,
                         testing::Values(std::vector<int64_t>{0, 0, 0, 9, 9}));
INSTANTIATE_TEST_SUITE_P(NoRows, ExpertsTest,
                         testing::Values(std::vector<int64_t>{0, 0, 0, 0, 0}));

}  // namespace
}  // namespace moe
