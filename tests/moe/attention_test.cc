#include <cmath>
#include <string>
#include <vector>

#include "tests/moe/attention_case.h"

namespace moe {
namespace {

class AttentionKernel : public testing::TestWithParam<AttentionCase> {};

TEST_P(AttentionKernel, ForwardIsTheSoftmaxOverTheTokensSoFar) {
  Attended run(GetParam(), /*threads=*/2);
  std::vector<double> log_sum_exp;
  const std::vector<double> y =
      AttentionReference(GetParam()).Forward(run.qkv.Values(), &log_sum_exp);
  ExpectRounded(run.y, y, "y");
  ExpectRounded(run.log_sum_exp, log_sum_exp, "log_sum_exp");
}

TEST_P(AttentionKernel, BackwardIsTheDerivativeOfTheForward) {
  Attended run(GetParam(), /*threads=*/2);
  const AttentionReference reference(GetParam());
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

std::string CaseName(const testing::TestParamInfo<AttentionCase>& info) {
  return info.param.name;
}

INSTANTIATE_TEST_SUITE_P(
    , AttentionKernel,
    testing::Values(
        AttentionCase{"OneToken", 1, {1, 1, 1, 2}, kF32},
        AttentionCase{"ManySequencesOfOneToken", 5, {1, 2, 1, 6}, kF32},
        AttentionCase{"SevenTokens", 2, {7, 6, 2, 6}, kF32},
        AttentionCase{"OneHead", 1, {33, 1, 1, 6}, kF32},
        AttentionCase{"KeysOfEachHead", 2, {33, 3, 3, 2}, kF32},
        AttentionCase{"OneKeyHead", 1, {65, 8, 1, 4}, kF32},
        AttentionCase{"AcrossTiles", 1, {200, 4, 2, 10}, kF32},
        AttentionCase{"AcrossBlocksOfKeys", 1, {530, 2, 1, 4}, kF32},
        AttentionCase{"WideHeads", 1, {130, 2, 1, 128}, kF32},
        AttentionCase{"UsualShape", 1, {150, 4, 2, 64}, kF32},
        AttentionCase{"SevenTokensInBFloat16", 2, {7, 6, 2, 6}, kBF16},
        AttentionCase{"UsualShapeInBFloat16", 1, {150, 4, 2, 64}, kBF16}),
    CaseName);

// A tile has 64, 32 or 16 tokens when 1, 2 or more query heads share keys; a
// block has 256 keys. Documents begin and end at their edges, one token before
// and one behind.
INSTANTIATE_TEST_SUITE_P(
    Documents, AttentionKernel,
    testing::Values(
        AttentionCase{"OneDocument", 1, {33, 2, 1, 6}, kF32, {33}},
        AttentionCase{
            "OfOneToken", 2, {5, 2, 1, 6}, kF32, std::vector<int64_t>(10, 1)},
        AttentionCase{
            "InOneTile", 2, {7, 6, 2, 6}, kF32, {1, 2, 3, 1, 1, 5, 1}},
        AttentionCase{
            "AtEdgesOfTilesOf64", 1, {200, 1, 1, 6}, kF32, {64, 64, 72}},
        AttentionCase{
            "BeforeEdgesOfTilesOf64", 1, {200, 1, 1, 6}, kF32, {63, 64, 73}},
        AttentionCase{
            "BehindEdgesOfTilesOf64", 1, {200, 1, 1, 6}, kF32, {65, 64, 71}},
        AttentionCase{
            "AtEdgesOfTilesOf32", 1, {100, 2, 1, 6}, kF32, {32, 64, 4}},
        AttentionCase{"AroundEdgesOfTilesOf32",
                      1,
                      {100, 4, 2, 6},
                      kF32,
                      {31, 2, 30, 2, 35}},
        AttentionCase{"AroundEdgesOfTilesOf16",
                      1,
                      {70, 4, 1, 10},
                      kF32,
                      {15, 1, 1, 15, 1, 14, 2, 21}},
        AttentionCase{
            "AtABlockOfKeys", 1, {530, 2, 1, 4}, kF32, {256, 256, 18}},
        AttentionCase{
            "BeforeABlockOfKeys", 1, {530, 2, 1, 4}, kF32, {255, 2, 273}},
        AttentionCase{
            "BehindABlockOfKeys", 1, {530, 1, 1, 4}, kF32, {1, 256, 273}},
        AttentionCase{
            "LongAfterShort", 1, {700, 2, 1, 4}, kF32, {5, 40, 600, 55}},
        AttentionCase{"OddInTwoSequences",
                      2,
                      {150, 2, 1, 64},
                      kF32,
                      {7, 33, 1, 77, 2, 30, 101, 49}},
        AttentionCase{"InOneTileInBFloat16",
                      2,
                      {7, 6, 2, 6},
                      kBF16,
                      {1, 2, 3, 1, 1, 5, 1}},
        AttentionCase{"AroundTilesInBFloat16",
                      1,
                      {150, 4, 2, 64},
                      kBF16,
                      {31, 2, 31, 33, 53}},
        AttentionCase{"AcrossBlocksInBFloat16",
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
  const AttentionCase c{"", 1, {300, 2, 1, 8}, kF32};
  Attended run(c, /*threads=*/1, /*deviation=*/30);  // scores of thousands
  std::vector<double> log_sum_exp;
  const std::vector<double> y =
      AttentionReference(c).Forward(run.qkv.Values(), &log_sum_exp);
  ExpectNear(run.y, y, 1e-3, 1e-3, "y");
  ExpectRounded(run.log_sum_exp, log_sum_exp, "log_sum_exp");
  for (double d : run.d_qkv.Values()) EXPECT_TRUE(std::isfinite(d));
}

TEST(Attention, LaterTokensAndOtherSequencesChangeNothing) {
  const AttentionCase c{"", 2, {40, 2, 2, 8}, kF32};
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
  const AttentionCase c{"", 1, {340, 2, 1, 8}, kF32, {30, 45, 225, 40}};
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
  const AttentionCase c{"", 3, {70, 4, 2, 16}, kF32};
  Attended one(c, /*threads=*/1);
  Attended three(c, /*threads=*/3);
  EXPECT_EQ(one.y.Values(), three.y.Values());
  EXPECT_EQ(one.d_qkv.Values(), three.d_qkv.Values());
}

TEST(Attention, NotANumberReachesTheResult) {
  const AttentionCase c{"", 1, {20, 1, 1, 4}, kF32};
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
  const ProgressScope progress(*run.context, [&] { ++calls; });
  run.Repeat();
  EXPECT_GE(calls, 4);
}

}  // namespace
}  // namespace moe
