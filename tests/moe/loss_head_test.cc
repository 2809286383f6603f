#include "moe/layers/loss_head.h"

#include <cstdint>
#include <memory>
#include <vector>

#include "comm/single_group.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/golden_file.h"
#include "tests/moe/layer_test.h"
#include "tests/moe/reference_ops.h"

namespace moe {
namespace {

// So many words that a chunk is 64 tokens, and two chunks and a piece of them.
constexpr int64_t kVocabulary = 70001;
constexpr int64_t kTokens = 133;
constexpr int64_t kWidth = 2;
constexpr float kScale = 0.125f;

class LossHeadTest : public LayerTest {
 protected:
  LossHeadTest()
      : x_TD_(MakeNumbers({kTokens, kWidth}, 1)),
        w_VD_(MakeNumbers({kVocabulary, kWidth}, 2)),
        targets_T_(Make({kTokens}, DType::kInt32)) {
    for (int64_t t = 0; t < kTokens; ++t)
      targets_.push_back(static_cast<int32_t>(t * 7919 % kVocabulary));
    SetHostValues(targets_T_, targets_);
  }

  double Loss(Tensor d_x_TD, Tensor d_w_VD) {
    const Tensor loss_1 = Make({1}, DType::kFloat64);
    EXPECT_TRUE(LossHead(context_, TensorParallel(*group_), loss_1,
                         {.x_TD = x_TD_,
                          .w_VD = w_VD_,
                          .targets_S = targets_T_,
                          .scale = kScale,
                          .d_x_TD = d_x_TD,
                          .d_w_VD = d_w_VD},
                         kVocabulary)
                    .ok());
    return HostValues<double>(loss_1)[0];
  }

  std::unique_ptr<ProcessGroup> group_ = MakeSingleGroup("tensor");
  Tensor x_TD_;
  Tensor w_VD_;
  Tensor targets_T_;
  std::vector<int32_t> targets_;
};

TEST_F(LossHeadTest, ChunksOfTokensAreTheWhole) {
  ASSERT_EQ(LossChunkRows(kVocabulary), 64);
  const reference::Vector w = Values(w_VD_);
  reference::Vector d_w(w.size());
  reference::Vector d_x;
  double loss = 0;
  for (int64_t t = 0; t < kTokens; ++t) {
    const reference::Vector x = Values(x_TD_[t]);
    const reference::Vector z = reference::Linear(x, w);
    const auto target = static_cast<size_t>(targets_[static_cast<size_t>(t)]);
    loss += reference::LogSumExp(z) - z[target];
    reference::Vector d_z = reference::Softmax(z);
    d_z[target] -= 1;
    for (double& value : d_z) value *= kScale;
    const reference::Vector d_row = reference::LinearBackward(d_z, x, w, d_w);
    d_x.insert(d_x.end(), d_row.begin(), d_row.end());
  }
  const Tensor d_x_TD = MakeNumbers({kTokens, kWidth}, 3);  // is overwritten
  const Tensor d_w_VD = Make({kVocabulary, kWidth});
  EXPECT_NEAR(Loss(d_x_TD, d_w_VD) / loss, 1, 1e-6);
  EXPECT_LT(RelativeDifference(Values(d_x_TD), d_x), 1e-5);
  EXPECT_LT(RelativeDifference(Values(d_w_VD), d_w), 1e-5);
}

TEST_F(LossHeadTest, EvaluationGivesTheSameLoss) {
  const double training =
      Loss(Make({kTokens, kWidth}), Make({kVocabulary, kWidth}));
  EXPECT_EQ(Loss(Tensor(), Tensor()), training);
}

TEST_F(LossHeadTest, AChunkTakesNoMoreMemoryThanAnnounced) {
  Loss(Make({kTokens, kWidth}), Make({kVocabulary, kWidth}));
  EXPECT_LT(scratch_.peak_bytes(), int64_t{18} << 20);
  for (int64_t vocabulary : {2, 4096, 32000, 256000}) {
    EXPECT_GE(LossChunkRows(vocabulary), 64);
    EXPECT_LE(LossChunkRows(vocabulary), 1024);
  }
}

}  // namespace
}  // namespace moe
