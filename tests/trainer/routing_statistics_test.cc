#include "trainer/step/routing_statistics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "moe/layers/arena.h"

namespace moe {
namespace {

// Two layers, four experts, top-2, filled in by hand.
class RoutingStatisticsTest : public testing::Test {
 protected:
  // One micro-batch of two layers: of each the choices of each expert in each
  // sequence, and the sum of the first choices' probabilities.
  struct Layer {
    std::vector<float> counts_BE;
    double first_choice_sum = 0;
    int64_t num_dropped = 0;
    double aux_loss = 0;
    double z_loss = 0;
  };
  void Add(RoutingStatistics& statistics, const std::vector<Layer>& layers) {
    Arena memory;
    Pass pass(memory);
    pass.Begin({}, static_cast<int>(layers.size()));
    std::vector<float>& load = pass.balance.load;
    for (size_t i = 0; i < layers.size(); ++i) {
      const std::vector<float>& counts = layers[i].counts_BE;
      load.insert(load.end(), counts.begin(), counts.end());
      load.insert(load.end(), counts.size(), 0.125f);  // are not looked at
      pass.blocks[i].moe.num_dropped = layers[i].num_dropped;
      pass.balance.layer_losses.push_back(layers[i].aux_loss);
      pass.z_losses[i] = layers[i].z_loss;
      pass.first_choice_sums[i] = layers[i].first_choice_sum;
    }
    statistics.Add(pass);
  }

  RoutingStatistics statistics_{/*num_layers=*/2, /*num_experts=*/4,
                                /*top_k=*/2};
};

TEST_F(RoutingStatisticsTest, AreWhatAHandComputes) {
  Add(statistics_, {{{2, 0, 1, 1, 1, 0, 2, 1}, .7 + .6 + .5 + .4, 2, 1.25, 0.5},
                    {{1, 1, 1, 1, 1, 1, 1, 1}, 4 * 0.25, 0, 1, 0}});
  const std::vector<LayerRouting> layers = statistics_.Layers();
  ASSERT_EQ(layers.size(), 2u);

  // Loads 3, 0, 3, 2: mean 2, squared deviations 1, 4, 1, 0.
  const LayerRouting& a = layers[0];
  EXPECT_DOUBLE_EQ(a.load_max_over_mean, 1.5);
  EXPECT_DOUBLE_EQ(a.load_min_over_mean, 0);
  EXPECT_DOUBLE_EQ(a.load_cv, std::sqrt(1.5) / 2);
  // Shares 3/8, 0, 3/8, 1/4 have 1.5612781244591328 bits, of 2 at balance.
  EXPECT_NEAR(a.load_entropy, 1.5612781244591328 / 2, 1e-15);
  EXPECT_EQ(a.experts_without_tokens, 1);
  EXPECT_DOUBLE_EQ(a.dropped_fraction, 0.25);
  EXPECT_NEAR(a.top_probability, (0.7 + 0.6 + 0.5 + 0.4) / 4, 1e-7);
  EXPECT_DOUBLE_EQ(a.aux_loss, 1.25);
  EXPECT_DOUBLE_EQ(a.z_loss, 0.5);

  const LayerRouting& b = layers[1];
  EXPECT_DOUBLE_EQ(b.load_max_over_mean, 1);
  EXPECT_DOUBLE_EQ(b.load_min_over_mean, 1);
  EXPECT_DOUBLE_EQ(b.load_cv, 0);
  EXPECT_DOUBLE_EQ(b.load_entropy, 1);
  EXPECT_EQ(b.experts_without_tokens, 0);
  EXPECT_DOUBLE_EQ(b.dropped_fraction, 0);
  EXPECT_DOUBLE_EQ(b.top_probability, 0.25);
  EXPECT_DOUBLE_EQ(b.aux_loss, 1);
}

TEST_F(RoutingStatisticsTest, OneExpertThatHasAllHasNoEntropy) {
  const Layer layer_of_one = {.counts_BE = {0, 8, 0, 0}};
  Add(statistics_, {layer_of_one, layer_of_one});
  const LayerRouting layer = statistics_.Layers()[1];
  EXPECT_DOUBLE_EQ(layer.load_max_over_mean, 4);
  EXPECT_DOUBLE_EQ(layer.load_cv, std::sqrt(3.0));
  EXPECT_EQ(layer.load_entropy, 0);
  EXPECT_EQ(layer.experts_without_tokens, 3);
}

// Micro-batches, or ranks whose totals are added up.
TEST_F(RoutingStatisticsTest, PartsAddUpToTheWhole) {
  const Layer low = {{2, 0, 1, 1}, .7 + .6, 2, 0.5};
  const Layer high = {{1, 0, 2, 1}, .5 + .4, 1, 0.5};
  RoutingStatistics other(2, 4, 2);
  Add(statistics_, {low, high});
  Add(other, {high, low});
  std::transform(statistics_.totals().begin(), statistics_.totals().end(),
                 other.totals().begin(), statistics_.totals().begin(),
                 std::plus<>());
  for (const LayerRouting& layer : statistics_.Layers()) {
    EXPECT_DOUBLE_EQ(layer.load_max_over_mean, 1.5);
    EXPECT_DOUBLE_EQ(layer.dropped_fraction, 3.0 / 8);
    EXPECT_NEAR(layer.top_probability, 0.55, 1e-7);
    EXPECT_DOUBLE_EQ(layer.aux_loss, 1);
  }
  EXPECT_EQ(statistics_.counts().size(), 8u);
  EXPECT_EQ(statistics_.counts()[0], 3);
  statistics_.Clear();
  EXPECT_EQ(statistics_.Layers()[0].load_max_over_mean, 0);
}

TEST_F(RoutingStatisticsTest, WithoutTokensAllIsZero) {
  Add(statistics_, {Layer(), Layer()});
  const LayerRouting layer = statistics_.Layers()[0];
  EXPECT_EQ(layer.load_entropy, 0);
  EXPECT_EQ(layer.top_probability, 0);
  EXPECT_EQ(layer.experts_without_tokens, 0);
}

TEST(RoutingStatistics, ALoneExpertIsBalanced) {
  RoutingStatistics statistics(1, 1, 1);
  statistics.totals()[0] = 7;
  EXPECT_EQ(statistics.Layers()[0].load_entropy, 1);
  EXPECT_EQ(statistics.Layers()[0].load_max_over_mean, 1);
}

}  // namespace
}  // namespace moe
