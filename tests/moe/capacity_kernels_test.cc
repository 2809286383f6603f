#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "tests/moe/kernel_test_util.h"

// Letters: T tokens of S in sequences of L, E experts, K experts per token.

namespace moe {
namespace {

using Ids = std::vector<double>;

// Every token's K experts, distinct, and their p; with `equal` the p are all
// one.
struct Choices {
  Choices(int64_t S, int64_t K, int64_t num_experts, uint64_t seed,
          bool equal = false)
      : E(num_experts), ids({S, K}, DType::kInt32), p({S, K}, DType::kFloat32) {
    const TestTensor logits = RandomTensor({S, E}, DType::kFloat32, seed, 2);
    TestTensor probabilities({S, E}, DType::kFloat32);
    TestTensor weights({S, K}, DType::kFloat32), lse({S}, DType::kFloat32);
    const std::unique_ptr<Kernels> context = MakeCpuKernels(1);
    context->RouterTopK(probabilities, ids, weights, lse, logits,
                        {static_cast<int>(K), /*renormalize=*/true, false});
    context->ChosenProbabilities(p, probabilities, ids);
    if (equal) p.Fill(0.25);
  }

  int64_t E;
  TestTensor ids;
  TestTensor p;
};

// Sorts each expert's choices of each sequence and drops the last.
Ids Naive(const Choices& c, bool by_probability, int64_t capacity,
          int64_t length) {
  const int64_t K = c.ids.view().dim(1);
  Ids kept = c.ids.Values();
  for (int64_t start = 0; start < c.ids.size(); start += length * K) {
    for (int64_t e = 0; e < c.E; ++e) {
      std::vector<int64_t> takers;
      for (int64_t n = start; n < start + length * K; ++n)
        if (c.ids.Get(n) == static_cast<double>(e)) takers.push_back(n);
      if (by_probability) {
        std::stable_sort(
            takers.begin(), takers.end(),
            [&](int64_t a, int64_t b) { return c.p.Get(a) > c.p.Get(b); });
      }
      for (size_t i = static_cast<size_t>(capacity); i < takers.size(); ++i)
        kept[static_cast<size_t>(takers[i])] = -1;
    }
  }
  return kept;
}

// What the kernel keeps of `num_tokens` from `first_token` on.
Ids Kept(const Choices& c, bool by_probability, int64_t capacity,
         int64_t length, int64_t first_token, int64_t num_tokens,
         int threads = 2) {
  const std::unique_ptr<Kernels> context = MakeCpuKernels(threads);
  TestTensor kept({num_tokens, c.ids.view().dim(1)}, DType::kInt32);
  kept.Fill(99);
  context->ApplyCapacity(kept, c.ids, by_probability ? c.p.view() : Tensor(),
                         {.num_experts = c.E,
                          .capacity = capacity,
                          .first_token = first_token,
                          .length = length});
  EXPECT_TRUE(context->status().ok());
  return kept.Values();
}

struct Shape {
  int64_t B, L, K, E;
};
constexpr Shape kShapes[] = {{1, 1, 1, 1},  {3, 7, 2, 5},   {2, 33, 3, 4},
                             {5, 1, 2, 3},  {1, 7, 4, 4},   {4, 33, 6, 200},
                             {3, 64, 1, 2}, {2, 150, 2, 33}};

class CapacityKernelTest : public testing::TestWithParam<bool> {};

TEST_P(CapacityKernelTest, KeepsWhatSortingEachExpertsChoicesWouldKeep) {
  for (const auto& [B, L, K, E] : kShapes) {
    for (bool equal : {false, true}) {
      const Choices choices(B * L, K, E, 1, equal);
      for (int64_t capacity : {int64_t{1}, int64_t{2}, int64_t{5}, L, L + 1}) {
        EXPECT_EQ(Kept(choices, GetParam(), capacity, L, 0, B * L),
                  Naive(choices, GetParam(), capacity, L))
            << B << " sequences of " << L << ", " << E << " experts, capacity "
            << capacity;
      }
    }
  }
}

TEST_P(CapacityKernelTest, ACapacityOfTheWholeSequenceDropsNothing) {
  const Choices choices(3 * 7, 2, 5, 2);
  EXPECT_EQ(Kept(choices, GetParam(), 7, 7, 0, 21), choices.ids.Values());
}

// Ranks of a tensor group cut the sequences anywhere.
TEST_P(CapacityKernelTest, AnyPieceOfTheTokensIsThatPieceOfTheWhole) {
  constexpr int64_t kB = 3, kL = 7, kK = 2;
  const Choices choices(kB * kL, kK, 4, 3);
  const Ids whole = Kept(choices, GetParam(), 2, kL, 0, kB * kL);
  EXPECT_GT(std::count(whole.begin(), whole.end(), -1), 0);
  for (int64_t first = 0; first <= kB * kL; ++first) {
    for (int64_t num = 0; num <= kB * kL - first; ++num) {
      ASSERT_EQ(
          Kept(choices, GetParam(), 2, kL, first, num),
          Ids(whole.begin() + first * kK, whole.begin() + (first + num) * kK))
          << num << " tokens from " << first;
    }
  }
}

TEST_P(CapacityKernelTest, OneExpertThatAllWantKeepsItsShareOfEachSequence) {
  Choices choices(2 * 9, 1, 5, 4);
  choices.ids.Fill(3);
  const Ids kept = Kept(choices, GetParam(), 4, 9, 0, 18);
  EXPECT_EQ(kept, Naive(choices, GetParam(), 4, 9));
  EXPECT_EQ(std::count(kept.begin(), kept.begin() + 9, 3), 4);
  EXPECT_EQ(std::count(kept.begin() + 9, kept.end(), 3), 4);
}

TEST_P(CapacityKernelTest, ThreadsDoNotChangeWhatIsKept) {
  const Choices choices(13 * 33, 2, 7, 5);
  const Ids one = Kept(choices, GetParam(), 6, 33, 0, 13 * 33, 1);
  for (int threads : {2, 3, 8, 20})
    EXPECT_EQ(Kept(choices, GetParam(), 6, 33, 0, 13 * 33, threads), one);
}

TEST_P(CapacityKernelTest, NumbersThatAreNoneAreDroppedFirst) {
  constexpr int64_t kL = 40;
  Choices choices(kL, 1, 2, 6);
  choices.ids.Fill(1);
  for (int64_t t = 0; t < kL; ++t) {
    const double values[] = {std::nan(""), 0.0, -std::nan(""), 0.5};
    choices.p.Set(t, values[t % 4]);
  }
  const Ids kept = Kept(choices, GetParam(), 25, kL, 0, kL);
  EXPECT_EQ(std::count(kept.begin(), kept.end(), 1), 25);
  EXPECT_EQ(std::count(kept.begin(), kept.end(), -1), 15);
  if (!GetParam()) return;
  for (int64_t t = 0; t < kL; ++t) {
    // All 20 numbers, and of those that are none the first five.
    const bool is_kept = t % 2 == 1 || t < 10;
    EXPECT_EQ(kept[static_cast<size_t>(t)], is_kept ? 1 : -1) << t;
  }
}

std::string PolicyName(const testing::TestParamInfo<bool>& info) {
  return info.param ? "ByProbability" : "ByPosition";
}

INSTANTIATE_TEST_SUITE_P(, CapacityKernelTest, testing::Bool(), PolicyName);

TEST(ApplyCapacity, OfEqualProbabilitiesTheEarlierTokenStays) {
  Choices choices(6, 1, 1, 7);
  const double p[] = {0.5, 0.25, 0.5, 0.75, 0.5, 0.25};
  for (int64_t t = 0; t < 6; ++t) choices.p.Set(t, p[t]);
  EXPECT_EQ(Kept(choices, true, 3, 6, 0, 6), (Ids{0, -1, 0, 0, -1, -1}));
  EXPECT_EQ(Kept(choices, false, 3, 6, 0, 6), (Ids{0, 0, 0, -1, -1, -1}));
}

TEST(ChosenProbabilities, AreThoseOfTheChosenExperts) {
  const std::unique_ptr<Kernels> context = MakeCpuKernels(2);
  const TestTensor p = RandomTensor({3, 4}, DType::kFloat32, 8);
  const TestTensor ids = IndexTensor({3, 2}, {3, 0, 1, 2, 0, 3});
  TestTensor chosen({3, 2}, DType::kFloat32);
  context->ChosenProbabilities(chosen, p, ids);
  EXPECT_EQ(chosen.Values(),
            (std::vector<double>{p.Get(3), p.Get(0), p.Get(5), p.Get(6),
                                 p.Get(8), p.Get(11)}));
}

}  // namespace
}  // namespace moe
