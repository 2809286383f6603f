#include <cmath>
#include <string>
#include <vector>

#include "tests/moe/kernel_test_util.h"

// Letters: B sequences of L tokens, T = B L, H heads, G key/value heads, d head
// width, A = H d, C = (H + 2 G) d.

namespace moe {
namespace {

struct Case {
  const char* name;
  int64_t sequences;
  AttentionShape shape;
  DType dtype;
  // Lengths of the documents, one sequence after another; empty: each sequence
  // is one document.
  std::vector<int64_t> documents = {};
};

// Each token's index in its document.
std::vector<int32_t> Positions(const Case& c) {
  std::vector<int32_t> positions;
  for (int64_t length : c.documents) {
    for (int64_t i = 0; i < length; ++i)
      positions.push_back(static_cast<int32_t>(i));
  }
  return positions;
}

// Causal attention by its definition, one score at a time.
class Reference {
 public:
  explicit Reference(const Case& c) : sequences_(c.sequences), s_(c.shape) {
    const std::vector<int64_t> sequences(static_cast<size_t>(c.sequences),
                                         c.shape.length);
    for (int64_t length : c.documents.empty() ? sequences : c.documents)
      begins_.insert(begins_.end(), static_cast<size_t>(length),
                     static_cast<int64_t>(begins_.size()));
    CHECK(static_cast<int64_t>(begins_.size()) == c.sequences * s_.length);
  }

  // y[t, head d + i]; log_sum_exp[head, t] too, unless null.
  std::vector<double> Forward(const std::vector<double>& qkv,
                              std::vector<double>* log_sum_exp) const {
    const int64_t T = sequences_ * s_.length;
    std::vector<double> y(static_cast<size_t>(T * s_.heads * s_.head_dim));
    if (log_sum_exp != nullptr)
      log_sum_exp->assign(static_cast<size_t>(T * s_.heads), 0.0);
    for (int64_t t = 0; t < T; ++t) {
      for (int64_t head = 0; head < s_.heads; ++head) {
        const double lse = Row(qkv, t, head, y);
        if (log_sum_exp != nullptr)
          (*log_sum_exp)[static_cast<size_t>(head * T + t)] = lse;
      }
    }
    return y;
  }

 private:
  double At(const std::vector<double>& qkv, int64_t t, int64_t head,
            int64_t i) const {
    const int64_t C = (s_.heads + 2 * s_.kv_heads) * s_.head_dim;
    return qkv[static_cast<size_t>(t * C + head * s_.head_dim + i)];
  }

  double Row(const std::vector<double>& qkv, int64_t t, int64_t head,
             std::vector<double>& y) const {
    const int64_t d = s_.head_dim;
    const int64_t key = s_.heads + head * s_.kv_heads / s_.heads;
    const int64_t value = key + s_.kv_heads;
    const int64_t begin = begins_[static_cast<size_t>(t)];
    std::vector<double> scores;
    double largest = -1e300;
    for (int64_t other = begin; other <= t; ++other) {
      double score = 0;
      for (int64_t i = 0; i < d; ++i)
        score += At(qkv, t, head, i) * At(qkv, other, key, i);
      scores.push_back(score / std::sqrt(static_cast<double>(d)));
      largest = std::max(largest, scores.back());
    }
    double sum = 0;
    for (double& score : scores) sum += score = std::exp(score - largest);
    for (int64_t i = 0; i < d; ++i) {
      double& y_i = y[static_cast<size_t>((t * s_.heads + head) * d + i)];
      for (size_t j = 0; j < scores.size(); ++j) {
        y_i += scores[j] / sum *
               At(qkv, begin + static_cast<int64_t>(j), value, i);
      }
    }
    return largest + std::log(sum);
  }

  int64_t sequences_;
  AttentionShape s_;
  std::vector<int64_t> begins_;  // of each token's document
};

// The kernel's results on random inputs of a case.
struct Attended {
  Attended(const Case& c, int threads, float deviation = 1)
      : shape(c.shape),
        T(c.sequences * c.shape.length),
        A(c.shape.heads * c.shape.head_dim),
        C((c.shape.heads + 2 * c.shape.kv_heads) * c.shape.head_dim),
        qkv(RandomTensor({T, C}, c.dtype, 1, deviation)),
        d_y(RandomTensor({T, A}, c.dtype, 2)),
        y({T, A}, c.dtype),
        log_sum_exp({c.shape.heads, T}, DType::kFloat32),
        d_qkv({T, C}, c.dtype),
        positions(Positions(c)),
        context(MakeKernelContext(threads)) {
    d_qkv.Fill(123);  // is overwritten
    Repeat();
  }

  void Repeat() {
    const Tensor positions_T =
        positions.empty() ? Tensor()
                          : Tensor(positions.data(), {T}, DType::kInt32);
    AttentionForward(*context, y, log_sum_exp, qkv, positions_T, shape);
    AttentionBackward(*context, d_qkv, d_y, qkv, y, log_sum_exp, positions_T,
                      shape);
    EXPECT_TRUE(KernelStatus(*context).ok());
  }

  AttentionShape shape;
  int64_t T, A, C;
  TestTensor qkv, d_y, y, log_sum_exp, d_qkv;
  std::vector<int32_t> positions;  // empty: none
  KernelContextPtr context;
};

class AttentionKernel : public testing::TestWithParam<Case> {};

TEST_P(AttentionKernel, ForwardIsTheSoftmaxOverTheTokensSoFar) {
  Attended run(GetParam(), /*threads=*/2);
  std::vector<double> log_sum_exp;
  const std::vector<double> y =
      Reference(GetParam()).Forward(run.qkv.Values(), &log_sum_exp);
  ExpectRounded(run.y, y, "y");
  ExpectRounded(run.log_sum_exp, log_sum_exp, "log_sum_exp");
}

TEST_P(AttentionKernel, BackwardIsTheDerivativeOfTheForward) {
  Attended run(GetParam(), /*threads=*/2);
  const Reference reference(GetParam());
  const std::vector<double> d_y = run.d_y.Values();
  const DoubleFunction loss = [&](const std::vector<double>& qkv) {
    return Dot(reference.Forward(qkv, nullptr), d_y);
  };
  // A sample when the whole gradient would take long: a prime stride meets
  // queries, keys and values of all heads.
  const size_t size = static_cast<size_t>(run.qkv.size());
  const size_t stride = size > 1000 ? size / 97 * 2 + 1 : 1;
  TestTensor sample({static_cast<int64_t>((size + stride - 1) / stride)},
                    run.d_qkv.dtype());
  std::vector<double> expected;
  for (size_t i = 0; i < size; i += stride) {
    sample.Set(static_cast<int64_t>(expected.size()),
               run.d_qkv.Get(static_cast<int64_t>(i)));
    expected.push_back(Derivative(loss, run.qkv.Values(), i));
  }
  // The forward's y enters the backward rounded.
  const bool bfloat16 = GetParam().dtype == DType::kBFloat16;
  ExpectRounded(sample, expected, "d_qkv", bfloat16 ? 4e-3 : 1e-5);
}

constexpr DType kF32 = DType::kFloat32;
constexpr DType kBF16 = DType::kBFloat16;

std::string CaseName(const testing::TestParamInfo<Case>& info) {
  return info.param.name;
}

INSTANTIATE_TEST_SUITE_P(
    , AttentionKernel,
    testing::Values(Case{"OneToken", 1, {1, 1, 1, 2}, kF32},
                    Case{"ManySequencesOfOneToken", 5, {1, 2, 1, 6}, kF32},
                    Case{"SevenTokens", 2, {7, 6, 2, 6}, kF32},
                    Case{"OneHead", 1, {33, 1, 1, 6}, kF32},
                    Case{"KeysOfEachHead", 2, {33, 3, 3, 2}, kF32},
                    Case{"OneKeyHead", 1, {65, 8, 1, 4}, kF32},
                    Case{"AcrossTiles", 1, {200, 4, 2, 10}, kF32},
                    Case{"AcrossBlocksOfKeys", 1, {530, 2, 1, 4}, kF32},
                    Case{"WideHeads", 1, {130, 2, 1, 128}, kF32},
                    Case{"UsualShape", 1, {150, 4, 2, 64}, kF32},
                    Case{"SevenTokensInBFloat16", 2, {7, 6, 2, 6}, kBF16},
                    Case{"UsualShapeInBFloat16", 1, {150, 4, 2, 64}, kBF16}),
    CaseName);

// A tile has 64, 32 or 16 tokens when 1, 2 or more query heads share keys; a
// block has 256 keys. Documents begin and end at their edges, one token before
// and one behind.
INSTANTIATE_TEST_SUITE_P(
    Documents, AttentionKernel,
    testing::Values(
        Case{"OneDocument", 1, {33, 2, 1, 6}, kF32, {33}},
        Case{"OfOneToken", 2, {5, 2, 1, 6}, kF32, std::vector<int64_t>(10, 1)},
        Case{"InOneTile", 2, {7, 6, 2, 6}, kF32, {1, 2, 3, 1, 1, 5, 1}},
        Case{"AtEdgesOfTilesOf64", 1, {200, 1, 1, 6}, kF32, {64, 64, 72}},
        Case{"BeforeEdgesOfTilesOf64", 1, {200, 1, 1, 6}, kF32, {63, 64, 73}},
        Case{"BehindEdgesOfTilesOf64", 1, {200, 1, 1, 6}, kF32, {65, 64, 71}},
        Case{"AtEdgesOfTilesOf32", 1, {100, 2, 1, 6}, kF32, {32, 64, 4}},
        Case{"AroundEdgesOfTilesOf32",
             1,
             {100, 4, 2, 6},
             kF32,
             {31, 2, 30, 2, 35}},
        Case{"AroundEdgesOfTilesOf16",
             1,
             {70, 4, 1, 10},
             kF32,
             {15, 1, 1, 15, 1, 14, 2, 21}},
        Case{"AtABlockOfKeys", 1, {530, 2, 1, 4}, kF32, {256, 256, 18}},
        Case{"BeforeABlockOfKeys", 1, {530, 2, 1, 4}, kF32, {255, 2, 273}},
        Case{"BehindABlockOfKeys", 1, {530, 1, 1, 4}, kF32, {1, 256, 273}},
        Case{"LongAfterShort", 1, {700, 2, 1, 4}, kF32, {5, 40, 600, 55}},
        Case{"OddInTwoSequences",
             2,
             {150, 2, 1, 64},
             kF32,
             {7, 33, 1, 77, 2, 30, 101, 49}},
        Case{"InOneTileInBFloat16",
             2,
             {7, 6, 2, 6},
             kBF16,
             {1, 2, 3, 1, 1, 5, 1}},
        Case{"AroundTilesInBFloat16",
             1,
             {150, 4, 2, 64},
             kBF16,
             {31, 2, 31, 33, 53}},
        Case{"AcrossBlocksInBFloat16",
             1,
             {530, 2, 1, 4},
             kBF16,
             {5, 300, 207, 18}}),
    CaseName);

TEST(Attention, NoTokensAreAnOrdinaryCase) {
  Attended run({"", 0, {7, 2, 1, 4}, kF32}, /*threads=*/1);
  EXPECT_EQ(run.y.size(), 0);
}

TEST(Attention, ScoresFarApartNeitherOverflowNorVanish) {
  const Case c{"", 1, {300, 2, 1, 8}, kF32};
  Attended run(c, /*threads=*/1, /*deviation=*/30);  // scores of thousands
  std::vector<double> log_sum_exp;
  const std::vector<double> y =
      Reference(c).Forward(run.qkv.Values(), &log_sum_exp);
  ExpectNear(run.y, y, 1e-3, 1e-3, "y");
  ExpectRounded(run.log_sum_exp, log_sum_exp, "log_sum_exp");
  for (double d : run.d_qkv.Values()) EXPECT_TRUE(std::isfinite(d));
}

TEST(Attention, LaterTokensAndOtherSequencesChangeNothing) {
  const Case c{"", 2, {40, 2, 2, 8}, kF32};
  Attended run(c, /*threads=*/1);
  const std::vector<double> before = run.y.Values();
  // Token 30 of the first sequence: rows before it, and the second sequence.
  for (int64_t i = 0; i < run.C; ++i) run.qkv.Set(30 * run.C + i, 5);
  run.Repeat();
  for (int64_t t = 0; t < run.T; ++t) {
    const bool may_change = t >= 30 && t < 40;
    bool changed = false;
    for (int64_t i = t * run.A; i < (t + 1) * run.A; ++i)
      changed |= run.y.Get(i) != before[static_cast<size_t>(i)];
    EXPECT_EQ(changed, may_change) << "token " << t;
  }
}

// Whatever stands in the other documents, their tokens' own results change and
// no bit of any other's.
TEST(Attention, AnotherDocumentChangesNoBit) {
  const Case c{"", 1, {340, 2, 1, 8}, kF32, {30, 45, 225, 40}};
  Attended run(c, /*threads=*/1);
  const std::vector<double> y = run.y.Values();
  const std::vector<double> d_qkv = run.d_qkv.Values();
  int64_t begin = 0;
  for (int64_t length : c.documents) {
    Attended other(c, /*threads=*/1);
    for (int64_t i = begin * run.C; i < (begin + length) * run.C; ++i)
      other.qkv.Set(i, 3 * other.qkv.Get(i));
    other.Repeat();
    for (int64_t t = 0; t < run.T; ++t) {
      const bool may_change = t >= begin && t < begin + length;
      bool changed = false;
      for (int64_t i = t * run.A; i < (t + 1) * run.A; ++i)
        changed |= other.y.Get(i) != y[static_cast<size_t>(i)];
      bool gradient_changed = false;
      for (int64_t i = t * run.C; i < (t + 1) * run.C; ++i)
        gradient_changed |= other.d_qkv.Get(i) != d_qkv[static_cast<size_t>(i)];
      EXPECT_EQ(changed, may_change) << "token " << t;
      EXPECT_EQ(gradient_changed, may_change) << "token " << t;
    }
    begin += length;
  }
}

// Keys of other documents that no row of a tile may see are not even read.
TEST(Attention, BlocksOfKeysThatNoneMaySeeAreSkipped) {
  Attended run({"", 1, {640, 2, 1, 8}, kF32, {320, 320}}, /*threads=*/1);
  for (int64_t i = 0; i < 320 * run.C; ++i) run.qkv.Set(i, std::nan(""));
  run.Repeat();
  for (int64_t i = 320 * run.A; i < run.y.size(); ++i)
    ASSERT_TRUE(std::isfinite(run.y.Get(i))) << i;
  for (int64_t i = 320 * run.C; i < run.d_qkv.size(); ++i)
    ASSERT_TRUE(std::isfinite(run.d_qkv.Get(i))) << i;
}

TEST(Attention, OneDocumentASequenceGivesTheBitsOfNoDocuments) {
  Attended none({"", 2, {300, 2, 1, 8}, kF32}, /*threads=*/1);
  Attended one({"", 2, {300, 2, 1, 8}, kF32, {300, 300}}, /*threads=*/1);
  EXPECT_EQ(one.y.Values(), none.y.Values());
  EXPECT_EQ(one.d_qkv.Values(), none.d_qkv.Values());
}

TEST(Attention, AResultHasTheSameBitsAtAnyNumberOfThreads) {
  const Case c{"", 3, {70, 4, 2, 16}, kF32};
  Attended one(c, /*threads=*/1);
  Attended three(c, /*threads=*/3);
  EXPECT_EQ(one.y.Values(), three.y.Values());
  EXPECT_EQ(one.d_qkv.Values(), three.d_qkv.Values());
}

TEST(Attention, NotANumberReachesTheResult) {
  const Case c{"", 1, {20, 1, 1, 4}, kF32};
  Attended run(c, /*threads=*/1);
  run.qkv.Set(0, std::nan(""));
  run.Repeat();
  EXPECT_TRUE(std::isnan(run.y.Get(0)));
  run.qkv.Set(0, 0);
  run.qkv.Set(4, std::nan(""));  // token 0's key, which every token reads
  run.Repeat();
  EXPECT_TRUE(std::isnan(run.y.Get(run.y.size() - 1)));
}

TEST(Attention, CallsProgressBetweenHeads) {
  Attended run({"", 2, {16, 2, 2, 4}, kF32}, /*threads=*/1);
  int calls = 0;
  SetProgress(*run.context, [&] { ++calls; });
  run.Repeat();
  EXPECT_GE(calls, 4);
}

}  // namespace
}  // namespace moe
