#include "moe/layers/router.h"

#include <vector>

#include "comm/process_groups.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/golden_file.h"
#include "tests/moe/layer_test.h"
#include "tests/moe/reference_router.h"

namespace moe {
namespace {

// Eight tokens are two sequences of four; five experts, top-2, width 3.
class RouterTest : public LayerTest {
 protected:
  static constexpr int64_t kTokens = 8;
  static constexpr int64_t kLength = 4;
  static constexpr int64_t kExperts = 5;
  static constexpr int64_t kWidth = 3;

  RouterTest() {
    model_.set_num_local_experts(kExperts);
    x_TD_ = Scaled(MakeNumbers({kTokens, kWidth}, 1), 0.21f);
    gate_ED_ = Scaled(MakeNumbers({kExperts, kWidth}, 4), 0.13f);
  }

  static Tensor Scaled(const Tensor& x, float factor) {
    // A little of the index keeps any two values apart.
    for (int64_t i = 0; i < x.size(); ++i)
      Set(x, i, factor * (Get(x, i) + 0.037f * static_cast<float>(i)));
    return x;
  }

  reference::Vector Row(const Tensor& x, int64_t t) { return Values(x[t]); }

  std::vector<reference::Route> Expected(bool renormalize) {
    std::vector<reference::Route> routes;
    for (int64_t t = 0; t < kTokens; ++t) {
      routes.push_back(reference::Choose(
          reference::Linear(Row(x_TD_, t), Values(gate_ED_)), 2, renormalize));
    }
    return routes;
  }

  BatchShape Batch() const {
    return {.length = kLength, .num_sequences = x_TD_.dim(0) / kLength};
  }

  Routing Forward(const RouterConfig& config) {
    Routing routing;
    routing.counts_BE = Make({Batch().num_sequences, kExperts});
    routing.probability_sums_BE = Make({Batch().num_sequences, kExperts});
    EXPECT_TRUE(Router(model_, config, tensor_)
                    .Forward(context_, routing, x_TD_, gate_ED_, Batch())
                    .ok());
    return routing;
  }

  static std::vector<int64_t> Chosen(const Routing& routing, int64_t token) {
    const auto ids = HostValues<int32_t>(routing.expert_ids_TK[token]);
    return {ids[0], ids[1]};
  }

  ProcessGroups groups_ = ProcessGroups::CreateSingle();
  TensorParallel tensor_{groups_[Axis::kTensor]};
  ModelConfig model_;
  Tensor x_TD_;
  Tensor gate_ED_;
};

TEST_F(RouterTest, ChoosesAndWeighsAsTheReference) {
  for (bool renormalize : {true, false}) {
    RouterConfig config;
    config.set_renormalize(renormalize);
    const Routing routing = Forward(config);
    const std::vector<reference::Route> routes = Expected(renormalize);
    for (int64_t t = 0; t < kTokens; ++t) {
      const reference::Route& route = routes[static_cast<size_t>(t)];
      EXPECT_THAT(Chosen(routing, t),
                  testing::ElementsAre(route.experts[0], route.experts[1]));
      ExpectNear(routing.weights_TK[t], route.weights, 1e-6);
      ExpectNear(routing.probabilities_TE[t], route.probabilities, 1e-6);
      EXPECT_NEAR(Get(routing.log_sum_exp_T, t), route.log_sum_exp, 1e-6);
    }
  }
}

TEST_F(RouterTest, CountsChoicesOfEachSequence) {
  const Routing routing = Forward(RouterConfig());
  const std::vector<reference::Route> routes = Expected(true);
  ASSERT_EQ(routing.counts_BE.dim(0), 2);
  for (int64_t b = 0; b < 2; ++b) {
    reference::Vector counts(kExperts);
    reference::Vector sums(kExperts);
    for (int64_t t = b * kLength; t < (b + 1) * kLength; ++t) {
      const reference::Route& route = routes[static_cast<size_t>(t)];
      for (size_t e : route.experts) ++counts[e];
      sums = reference::Add(sums, route.probabilities);
    }
    EXPECT_EQ(Values(routing.counts_BE[b]), counts);
    ExpectNear(routing.probability_sums_BE[b], sums, 1e-5);
  }
}

TEST_F(RouterTest, ChoosesTheSameWhereTheLoadIsNotWanted) {
  const Routing counted = Forward(RouterConfig());
  Routing routing;
  ASSERT_TRUE(Router(model_, RouterConfig(), tensor_)
                  .Forward(context_, routing, x_TD_, gate_ED_, Batch())
                  .ok());
  EXPECT_TRUE(routing.counts_BE.is_null());
  EXPECT_EQ(HostValues<int32_t>(routing.expert_ids_TK),
            HostValues<int32_t>(counted.expert_ids_TK));
  EXPECT_EQ(Values(routing.weights_TK), Values(counted.weights_TK));
}

TEST_F(RouterTest, TiesGoToTheLowerExpert) {
  kernels_->SetZero(gate_ED_);
  const Routing routing = Forward(RouterConfig());
  for (int64_t t = 0; t < kTokens; ++t) {
    EXPECT_THAT(Chosen(routing, t), testing::ElementsAre(0, 1));
    ExpectNear(routing.weights_TK[t], {0.5, 0.5}, 1e-6);
  }
}

TEST_F(RouterTest, ForcedBalanceGoesRoundTheExperts) {
  RouterConfig config;
  config.set_force_balance(true);
  const Routing routing = Forward(config);
  for (int64_t t = 0; t < kTokens; ++t) {
    EXPECT_THAT(Chosen(routing, t),
                testing::ElementsAre((2 * t) % 5, (2 * t + 1) % 5));
  }
}

TEST_F(RouterTest, BackwardIsTheReferences) {
  for (bool renormalize : {true, false}) {
    RouterConfig config;
    config.set_renormalize(renormalize);
    const Router router(model_, config, tensor_);
    const Routing routing = Forward(config);
    const Tensor d_weights_TK = MakeNumbers({kTokens, 2}, 3);
    const Tensor balance_BE = MakeNumbers({2, kExperts}, 5);
    const Tensor d_x_TD = MakeNumbers({kTokens, kWidth}, 6);
    const Tensor d_gate_ED = MakeNumbers({kExperts, kWidth}, 7);
    constexpr float kZScale = 0.25f;

    reference::Vector d_gate = Values(d_gate_ED);  // both are added to
    reference::Vector d_x;
    const std::vector<reference::Route> routes = Expected(renormalize);
    for (int64_t t = 0; t < kTokens; ++t) {
      const reference::Route& route = routes[static_cast<size_t>(t)];
      const reference::Vector d_logits = reference::ChooseBackward(
          Row(d_weights_TK, t), Row(balance_BE, t / kLength),
          2 * kZScale * route.log_sum_exp, route, renormalize);
      const reference::Vector d_row = reference::Add(
          Row(d_x_TD, t), reference::LinearBackward(d_logits, Row(x_TD_, t),
                                                    Values(gate_ED_), d_gate));
      d_x.insert(d_x.end(), d_row.begin(), d_row.end());
    }
    ASSERT_TRUE(router
                    .Backward(context_, d_x_TD, d_gate_ED, d_weights_TK,
                              balance_BE, kZScale, x_TD_, routing, gate_ED_,
                              Batch())
                    .ok());
    ExpectNear(d_x_TD, d_x, 2e-5);
    ExpectNear(d_gate_ED, d_gate, 2e-5);
  }
}

TEST_F(RouterTest, NoTokensAreAnOrdinaryCase) {
  x_TD_ = Make({0, kWidth});
  const Routing routing = Forward(RouterConfig());
  EXPECT_EQ(routing.counts_BE.dim(0), 0);
  const Tensor d_gate_ED = Make({kExperts, kWidth});
  EXPECT_TRUE(Router(model_, RouterConfig(), tensor_)
                  .Backward(context_, x_TD_, d_gate_ED, Make({0, 2}),
                            Make({0, kExperts}), 0, x_TD_, routing, gate_ED_,
                            Batch())
                  .ok());
  EXPECT_THAT(Values(d_gate_ED), testing::Each(0));
}

}  // namespace
}  // namespace moe
