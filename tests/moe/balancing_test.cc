#include "moe/layers/balancing.h"

#include <vector>

#include "comm/process_groups.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "moe/model_config.h"
#include "tests/test_device.h"

namespace moe {
namespace {

// Two sequences of two tokens, four experts, top-2, filled in by hand.
constexpr int64_t kExperts = 4;
constexpr int64_t kLength = 2;

class BalancingTest : public testing::Test {
 protected:
  BalancingTest() {
    model_.set_num_local_experts(kExperts);
    model_.set_num_experts_per_tok(2);
    router_.set_aux_loss_coefficient(0.5);
  }

  // A layer's choices and probability sums, [B, E].
  void AddLayer(const std::vector<float>& counts,
                const std::vector<float>& sums) {
    ++num_layers_;
    load_.insert(load_.end(), counts.begin(), counts.end());
    load_.insert(load_.end(), sums.begin(), sums.end());
  }

  double Loss(RouterConfig::AuxLossSemantics semantics,
              RouterConfig::AuxLossScope scope, BatchScale scale) {
    router_.set_aux_loss_semantics(semantics);
    router_.set_aux_loss_scope(scope);
    model_.set_num_hidden_layers(static_cast<int>(num_layers_));
    balance_.load = load_;
    LayerContext context{*kernels_, saved_, scratch_, DType::kFloat32};
    Balancing balancing(model_, router_, groups_);
    double loss = 0;
    EXPECT_TRUE(
        balancing.Finish(context, balance_, &loss, scale, kLength).ok());
    EXPECT_EQ(balance_.load, load_);
    return loss;
  }

  std::vector<float> Gradients() const {
    return HostValues<float>(balance_.gradients_BE[0]);
  }

  ModelConfig model_;
  RouterConfig router_;
  std::unique_ptr<Kernels> kernels_ = TestKernels(1);
  ProcessGroups groups_ = ProcessGroups::CreateSingle();
  Arena saved_{kernels_->context()};
  Arena scratch_{kernels_->context()};
  int64_t num_layers_ = 0;
  std::vector<float> load_;  // [layers, 2, B, E]
  Balance balance_;
};

constexpr BatchScale kWhole = {
    .global_tokens = 4, .global_sequences = 2, .micro_sequences = 2};

TEST_F(BalancingTest, AtPerfectBalanceTheLossIsAsAnnounced) {
  for (int layer = 0; layer < 3; ++layer)
    AddLayer({1, 1, 1, 1, 1, 1, 1, 1}, std::vector<float>(8, 0.5f));
  for (auto scope : {RouterConfig::SEQUENCE, RouterConfig::MICRO_BATCH}) {
    const double loss = Loss(RouterConfig::SWITCH, scope, kWhole);
    EXPECT_DOUBLE_EQ(loss, 3);
    EXPECT_DOUBLE_EQ(loss, AuxLossAtBalance(model_, router_));
  }
  const double loss =
      Loss(RouterConfig::HF_MIXTRAL, RouterConfig::MICRO_BATCH, kWhole);
  EXPECT_DOUBLE_EQ(loss, 2);
  EXPECT_DOUBLE_EQ(loss, AuxLossAtBalance(model_, router_));
}

// f and P of the first sequence: (1/2, 1/2, 0, 0) and (3/4, 1/4, 0, 0); of the
// second: (0, 0, 1/2, 1/2) and (0, 0, 1/2, 1/2).
TEST_F(BalancingTest, SequencesAreEachOnTheirOwn) {
  AddLayer({2, 2, 0, 0, 0, 0, 2, 2}, {1.5, .5, 0, 0, 0, 0, 1, 1});
  // 1/2 (4 (3/8 + 1/8) + 4 (1/4 + 1/4)) = 2.
  EXPECT_DOUBLE_EQ(Loss(RouterConfig::SWITCH, RouterConfig::SEQUENCE, kWhole),
                   2);
  // 0.5 (coefficient) 1/2 (g) 4 (E) f / 2 (tokens) = f / 2.
  EXPECT_THAT(Gradients(),
              testing::ElementsAre(.25f, .25f, 0, 0, 0, 0, .25f, .25f));
}

TEST_F(BalancingTest, AMicroBatchIsMixedBeforeTheProduct) {
  AddLayer({2, 2, 0, 0, 0, 0, 2, 2}, {1.5, .5, 0, 0, 0, 0, 1, 1});
  // f is 1/4 for all: 4 * 1/4 * sum of P = 1, however uneven P.
  EXPECT_DOUBLE_EQ(
      Loss(RouterConfig::SWITCH, RouterConfig::MICRO_BATCH, kWhole), 1);
  EXPECT_THAT(Gradients(), testing::Each(0.5f * 4 * 0.25f / 4));
}

TEST_F(BalancingTest, HfMixtralMixesLayersBeforeTheProduct) {
  // Each layer uses two experts only, the other layer the other two.
  AddLayer({2, 2, 0, 0, 2, 2, 0, 0}, {1, 1, 0, 0, 1, 1, 0, 0});
  AddLayer({0, 0, 2, 2, 0, 0, 2, 2}, {0, 0, 1, 1, 0, 0, 1, 1});
  EXPECT_DOUBLE_EQ(
      Loss(RouterConfig::HF_MIXTRAL, RouterConfig::MICRO_BATCH, kWhole), 2);
  EXPECT_DOUBLE_EQ(
      Loss(RouterConfig::SWITCH, RouterConfig::MICRO_BATCH, kWhole), 4);
}

TEST_F(BalancingTest, LayersHaveLossesOfTheirOwn) {
  AddLayer({2, 2, 0, 0, 0, 0, 2, 2}, {1.5, .5, 0, 0, 0, 0, 1, 1});
  AddLayer({1, 1, 1, 1, 1, 1, 1, 1}, std::vector<float>(8, 0.5f));
  AddLayer({2, 2, 0, 0, 2, 2, 0, 0}, {1, 1, 0, 0, 1, 1, 0, 0});
  EXPECT_DOUBLE_EQ(Loss(RouterConfig::SWITCH, RouterConfig::SEQUENCE, kWhole),
                   5);
  EXPECT_EQ(balance_.layer_losses, (std::vector<double>{2, 1, 2}));
  EXPECT_DOUBLE_EQ(
      Loss(RouterConfig::SWITCH, RouterConfig::MICRO_BATCH, kWhole), 4);
  EXPECT_EQ(balance_.layer_losses, (std::vector<double>{1, 1, 2}));
  // Before the layers are mixed, f not divided by K: twice those of SWITCH.
  Loss(RouterConfig::HF_MIXTRAL, RouterConfig::MICRO_BATCH, kWhole);
  EXPECT_EQ(balance_.layer_losses, (std::vector<double>{2, 2, 4}));
}

TEST_F(BalancingTest, MicroBatchesWeighTheirShareOfTheSequences) {
  AddLayer({1, 1, 1, 1}, std::vector<float>(4, 0.5f));
  const BatchScale scale = {
      .global_tokens = 16, .global_sequences = 8, .micro_sequences = 1};
  EXPECT_DOUBLE_EQ(Loss(RouterConfig::SWITCH, RouterConfig::SEQUENCE, scale),
                   1.0 / 8);
  EXPECT_DOUBLE_EQ(Loss(RouterConfig::SWITCH, RouterConfig::MICRO_BATCH, scale),
                   1.0 / 8);
  EXPECT_DOUBLE_EQ(
      Loss(RouterConfig::HF_MIXTRAL, RouterConfig::MICRO_BATCH, scale),
      2.0 / 8);
}

TEST_F(BalancingTest, ARankWithoutTokensAddsNothing) {
  AddLayer({}, {});
  EXPECT_EQ(Loss(RouterConfig::SWITCH, RouterConfig::SEQUENCE, kWhole), 0);
  EXPECT_EQ(balance_.gradients_BE[0].size(), 0);
}

TEST_F(BalancingTest, WithoutCoefficientThereIsALossButNoGradient) {
  router_.set_aux_loss_coefficient(0);
  AddLayer({2, 2, 0, 0}, {1, 1, 0, 0});
  EXPECT_GT(Loss(RouterConfig::SWITCH, RouterConfig::SEQUENCE, kWhole), 0);
  EXPECT_THAT(Gradients(), testing::Each(0));
}

}  // namespace
}  // namespace moe
