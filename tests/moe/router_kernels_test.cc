#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <vector>

#include "tests/moe/kernel_test_util.h"

// Letters: T tokens in B sequences of L, E experts, K experts per token.

namespace moe {
namespace {

constexpr DType kF32 = DType::kFloat32;

struct Routed {
  Routed(const TestTensor& logits_TE, const TopKOptions& options,
         int threads = 2)
      : T(logits_TE.view().dim(0)),
        E(logits_TE.view().dim(1)),
        K(options.num_experts_per_token),
        p({T, E}, kF32),
        ids({T, K}, DType::kInt32),
        weights({T, K}, kF32),
        log_sum_exp({T}, kF32),
        context(MakeCpuKernels(threads)) {
    context->RouterTopK(p, ids, weights, log_sum_exp, logits_TE, options);
  }

  int64_t T, E, K;
  TestTensor p, ids, weights, log_sum_exp;
  std::unique_ptr<Kernels> context;
};

std::vector<double> Softmax(const std::vector<double>& logits, int64_t E,
                            std::vector<double>* log_sum_exp) {
  std::vector<double> p(logits.size());
  for (size_t row = 0; row < p.size(); row += static_cast<size_t>(E)) {
    double sum = 0;
    for (size_t e = row; e < row + static_cast<size_t>(E); ++e)
      sum += p[e] = std::exp(logits[e]);
    for (size_t e = row; e < row + static_cast<size_t>(E); ++e) p[e] /= sum;
    log_sum_exp->push_back(std::log(sum));
  }
  return p;
}

TEST(RouterTopK, ChoosesTheMostProbableInFallingOrder) {
  for (auto [T, E, K] : {std::tuple<int64_t, int64_t, int>{1, 1, 1},
                         {7, 8, 2},
                         {33, 5, 5},
                         {3, 64, 6},
                         {2, 2049, 8}}) {
    for (bool renormalize : {true, false}) {
      const TestTensor logits = RandomTensor({T, E}, kF32, 1, 2);
      const Routed routed(logits, {K, renormalize, false});
      std::vector<double> log_sum_exp;
      const std::vector<double> p = Softmax(logits.Values(), E, &log_sum_exp);
      ExpectRounded(routed.p, p, "probabilities");
      ExpectRounded(routed.log_sum_exp, log_sum_exp, "log_sum_exp");
      std::vector<double> ids, weights;
      for (int64_t t = 0; t < T; ++t) {
        std::vector<int64_t> order(static_cast<size_t>(E));
        std::iota(order.begin(), order.end(), t * E);
        std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
          return routed.p.Get(a) > routed.p.Get(b);
        });
        double sum = 0;
        for (size_t k = 0; k < static_cast<size_t>(K); ++k)
          sum += p[static_cast<size_t>(order[k])];
        for (size_t k = 0; k < static_cast<size_t>(K); ++k) {
          ids.push_back(static_cast<double>(order[k] - t * E));
          weights.push_back(p[static_cast<size_t>(order[k])] /
                            (renormalize ? sum : 1));
        }
      }
      EXPECT_EQ(routed.ids.Values(), ids) << E << " experts";
      ExpectRounded(routed.weights, weights, "weights");
    }
  }
}

TEST(RouterTopK, TiesGoToTheLowerExpert) {
  TestTensor logits({2, 6}, kF32);
  for (int64_t e : {1, 3, 4}) logits.Set(6 + e, 2);  // token 0: all equal
  const Routed routed(logits, {4, true, false});
  EXPECT_EQ(routed.ids.Values(),
            (std::vector<double>{0, 1, 2, 3, /*token 1*/ 1, 3, 4, 0}));
}

TEST(RouterTopK, WhateverTheLogitsIdsAreValidAndDistinct) {
  const double inf = INFINITY;
  const double nan = std::nan("");
  const double rows[][4] = {{nan, nan, nan, nan},      {1, nan, 2, 0},
                            {inf, inf, 0, 0},          {-inf, -inf, -inf, -inf},
                            {3e38, -3e38, 3e38, 1e30}, {-inf, 5, -inf, -inf}};
  TestTensor logits({6, 4}, kF32);
  for (int64_t i = 0; i < 24; ++i) logits.Set(i, rows[i / 4][i % 4]);
  for (int K = 1; K <= 4; ++K) {
    const Routed routed(logits, {K, true, false});
    for (int64_t t = 0; t < 6; ++t) {
      std::set<double> distinct;
      for (int64_t k = 0; k < K; ++k) {
        const double id = routed.ids.Get(t * K + k);
        EXPECT_TRUE(id >= 0 && id < 4) << "expert " << id;
        distinct.insert(id);
      }
      EXPECT_EQ(distinct.size(), static_cast<size_t>(K)) << "token " << t;
    }
    EXPECT_TRUE(std::isnan(routed.weights.Get(K)))
        << "a NaN logit must not vanish";
    EXPECT_EQ(routed.ids.Get(5 * K), 1);
    EXPECT_EQ(routed.weights.Get(5 * K), 1);
  }
}

TEST(RouterTopK, ForceBalanceGivesEveryExpertEquallyMany) {
  const Routed routed(RandomTensor({10, 5}, kF32, 1, 60), {2, true, true});
  std::vector<int> counts(5, 0);
  for (int64_t n = 0; n < 20; ++n) {
    EXPECT_EQ(routed.ids.Get(n), static_cast<double>(n % 5));
    ++counts[static_cast<size_t>(n % 5)];
    EXPECT_TRUE(std::isfinite(routed.weights.Get(n)));
  }
  EXPECT_EQ(counts, std::vector<int>(5, 4));
}

TEST(RouterTopK, ThreadsDoNotChangeABit) {
  const TestTensor logits = RandomTensor({300, 12}, kF32, 5);
  const Routed one(logits, {3, true, false}, 1);
  const Routed four(logits, {3, true, false}, 4);
  EXPECT_EQ(one.weights.Values(), four.weights.Values());
  EXPECT_EQ(one.ids.Values(), four.ids.Values());
}

TEST(ExpertLoad, CountsChoicesAndSumsProbabilitiesOfEachSequence) {
  constexpr int64_t kB = 3, kL = 7, kE = 11, kK = 2;
  const Routed routed(RandomTensor({kB * kL, kE}, kF32, 2),
                      {static_cast<int>(kK), true, false});
  TestTensor counts({kB, kE}, kF32), sums({kB, kE}, kF32);
  counts.Fill(9);  // overwritten
  sums.Fill(9);
  routed.context->ExpertLoad(counts, sums, routed.ids, routed.p,
                             /*first_token=*/0, kL);
  std::vector<double> expected_counts(kB * kE), expected_sums(kB * kE);
  for (int64_t t = 0; t < kB * kL; ++t) {
    const int64_t row = t / kL * kE;
    for (int64_t k = 0; k < kK; ++k)
      ++expected_counts[static_cast<size_t>(
          row + static_cast<int64_t>(routed.ids.Get(t * kK + k)))];
    for (int64_t e = 0; e < kE; ++e)
      expected_sums[static_cast<size_t>(row + e)] += routed.p.Get(t * kE + e);
  }
  EXPECT_EQ(counts.Values(), expected_counts);
  ExpectRounded(sums, expected_sums, "probability sums");
}

TEST(SumOfFirstChoices, AddsTheProbabilityOfEachTokensFirst) {
  const Routed routed(RandomTensor({33, 5}, kF32, 1), {2, true, false});
  double expected = 0;
  for (int64_t t = 0; t < 33; ++t) {
    const std::vector<double> p = routed.p.Values();
    expected += *std::max_element(p.begin() + t * 5, p.begin() + t * 5 + 5);
  }
  TestTensor sum({1}, DType::kFloat64);
  sum.Fill(9);  // overwritten
  routed.context->SumOfFirstChoices(sum, routed.p, routed.ids);
  EXPECT_DOUBLE_EQ(sum.Get(0), expected);
  // Where a choice is not of the largest, it is the chosen one's.
  routed.context->SumOfFirstChoices(sum, routed.p.view().Rows(0, 1),
                                    IndexTensor({1, 2}, {3, 0}));
  EXPECT_EQ(sum.Get(0), routed.p.Get(3));
}

// What two ranks of a tensor group count, each of its own tokens, is what one
// rank counts of all; the cut is in the middle of a sequence.
TEST(ExpertLoad, SlicesOfTheTokensSumToTheWhole) {
  constexpr int64_t kB = 3, kL = 7, kE = 11, kK = 2, kCut = 10;
  const Routed routed(RandomTensor({kB * kL, kE}, kF32, 2),
                      {static_cast<int>(kK), true, false});
  const auto load = [&](int64_t first, int64_t num) {
    TestTensor counts({kB, kE}, kF32), sums({kB, kE}, kF32);
    routed.context->ExpertLoad(counts, sums, routed.ids.view().Rows(first, num),
                               routed.p.view().Rows(first, num), first, kL);
    std::vector<double> values = counts.Values();
    const std::vector<double> more = sums.Values();
    values.insert(values.end(), more.begin(), more.end());
    return values;
  };
  const std::vector<double> whole = load(0, kB * kL);
  const std::vector<double> low = load(0, kCut);
  const std::vector<double> high = load(kCut, kB * kL - kCut);
  for (size_t i = 0; i < whole.size(); ++i)
    EXPECT_NEAR(low[i] + high[i], whole[i], 1e-5) << i;
}

struct BackwardCase {
  int64_t sequences, length, E;
  int K;
  bool renormalize;
  bool force_balance = false;
};

// The scalar that RouterBackward differentiates, with the choice held fixed.
double Loss(const std::vector<double>& logits, const BackwardCase& c,
            const Routed& routed, const std::vector<double>& d_weights,
            const std::vector<double>& balance, double z_scale) {
  std::vector<double> log_sum_exp;
  const std::vector<double> p = Softmax(logits, c.E, &log_sum_exp);
  double loss = 0;
  for (int64_t t = 0; t < routed.T; ++t) {
    const auto p_of = [&](int64_t k) {
      const auto id = static_cast<int64_t>(routed.ids.Get(t * c.K + k));
      return p[static_cast<size_t>(t * c.E + id)];
    };
    double sum = 0;
    for (int64_t k = 0; k < c.K; ++k) sum += p_of(k);
    for (int64_t k = 0; k < c.K; ++k)
      loss += d_weights[static_cast<size_t>(t * c.K + k)] * p_of(k) /
              (c.renormalize ? sum : 1);
    for (int64_t e = 0; e < c.E; ++e)
      loss += balance[static_cast<size_t>(t / c.length * c.E + e)] *
              p[static_cast<size_t>(t * c.E + e)];
    const double lse = log_sum_exp[static_cast<size_t>(t)];
    loss += z_scale * lse * lse;
  }
  return loss;
}

TEST(RouterBackward, IsTheDerivativeThroughWeightsBalanceAndZLoss) {
  for (const BackwardCase& c : {BackwardCase{1, 1, 1, 1, false},
                                {2, 7, 8, 2, true},
                                {2, 7, 8, 2, false},
                                {1, 5, 9, 1, false},
                                {1, 5, 9, 1, true},
                                {3, 1, 33, 4, true},
                                {1, 3, 4, 4, false},
                                {1, 3, 4, 4, true},
                                {2, 5, 7, 3, true, true}}) {
    constexpr float kZScale = 0.03f;
    const int64_t T = c.sequences * c.length;
    const TestTensor logits = RandomTensor({T, c.E}, kF32, 1, 2);
    const Routed routed(logits, {c.K, c.renormalize, c.force_balance});
    const TestTensor d_weights = RandomTensor({T, c.K}, kF32, 2);
    const TestTensor balance = RandomTensor({c.sequences, c.E}, kF32, 3);
    TestTensor d_logits({T, c.E}, kF32);
    d_logits.Fill(9);  // overwritten
    routed.context->RouterBackward(d_logits, d_weights, balance, routed.p,
                                   routed.ids, routed.weights,
                                   routed.log_sum_exp, kZScale,
                                   /*first_token=*/0, c.length, c.renormalize);
    const DoubleFunction loss = [&](const std::vector<double>& values) {
      return Loss(values, c, routed, d_weights.Values(), balance.Values(),
                  double{kZScale});
    };
    ExpectRounded(d_logits, Gradient(loss, logits.Values()), "d_logits");
  }
}

TEST(RouterBackward, FindsTheSequenceOfATokenInTheMiddle) {
  const Routed routed(RandomTensor({10, 5}, kF32, 1), {2, true, false});
  const TestTensor d_weights = RandomTensor({10, 2}, kF32, 2);
  const TestTensor balance = RandomTensor({2, 5}, kF32, 3);
  const auto backward = [&](int64_t first, int64_t num) {
    TestTensor d_logits({num, 5}, kF32);
    const auto rows = [&](const TestTensor& x) {
      return x.view().Rows(first, num);
    };
    routed.context->RouterBackward(
        d_logits, rows(d_weights), balance, rows(routed.p), rows(routed.ids),
        rows(routed.weights), rows(routed.log_sum_exp), /*z_scale=*/0.1f, first,
        /*length=*/5, /*renormalize=*/true);
    return d_logits.Values();
  };
  const std::vector<double> whole = backward(0, 10);
  const std::vector<double> part = backward(3, 4);
  EXPECT_EQ(part, std::vector<double>(whole.begin() + 15, whole.begin() + 35));
}

// Renormalised, the weight of a single expert is 1 whatever the logits.
TEST(RouterBackward, TopOneLearnsFromTheLossOnlyWithoutRenormalisation) {
  for (bool renormalize : {true, false}) {
    const TestTensor logits = RandomTensor({4, 3}, kF32, 1);
    const Routed routed(logits, {1, renormalize, false});
    TestTensor d_weights({4, 1}, kF32), balance({1, 3}, kF32);
    d_weights.Fill(1);
    TestTensor d_logits({4, 3}, kF32);
    routed.context->RouterBackward(
        d_logits, d_weights, balance, routed.p, routed.ids, routed.weights,
        routed.log_sum_exp,
        /*z_scale=*/0, /*first_token=*/0, /*length=*/4, renormalize);
    const double largest = LargestMagnitude(d_logits.Values());
    if (renormalize) {
      EXPECT_LT(largest, 1e-6);
    } else {
      EXPECT_GT(largest, 0.05);
    }
  }
}

TEST(RouterKernels, NoTokensAreAnOrdinaryCase) {
  const Routed routed(TestTensor({0, 4}, kF32), {2, true, false});
  TestTensor none({0, 4}, kF32), d_weights({0, 2}, kF32);
  routed.context->ExpertLoad(none, none, routed.ids, routed.p, 0, 7);
  routed.context->RouterBackward(none, d_weights, none, routed.p, routed.ids,
                                 routed.weights, routed.log_sum_exp, 1, 0, 1,
                                 true);
}

}  // namespace
}  // namespace moe
