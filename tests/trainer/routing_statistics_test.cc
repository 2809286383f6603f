#include "trainer/routing_statistics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "moe/arena.h"

namespace moe {
namespace {

// Two layers, four experts, top-2, filled in by hand.
class RoutingStatisticsTest : public testing::Test {
 protected:
  Tensor Fill(std::initializer_list<int64_t> shape,
              const std::vector<float>& values) {
    const Tensor tensor = memory_.Allocate(shape, DType::kFloat32).value();
    EXPECT_EQ(tensor.size(), static_cast<int64_t>(values.size()));
    std::copy(values.begin(), values.end(), tensor.data<float>());
    return tensor;
  }

  // Choices of each expert in each sequence; one token for each first choice,
  // with these probabilities.
  Routing MakeRouting(const std::vector<float>& counts_BE,
                      const std::vector<int32_t>& first_choices,
                      const std::vector<float>& probabilities_TE) {
    const int64_t B = static_cast<int64_t>(counts_BE.size()) / 4;
    const int64_t T = static_cast<int64_t>(first_choices.size());
    Routing routing;
    routing.counts_BE = Fill({B, 4}, counts_BE);
    routing.probabilities_TE = Fill({T, 4}, probabilities_TE);
    routing.expert_ids_TK = memory_.Allocate({T, 2}, DType::kInt32).value();
    for (int64_t t = 0; t < T; ++t) {
      int32_t* ids = routing.expert_ids_TK[t].data<int32_t>();
      ids[0] = first_choices[static_cast<size_t>(t)];
      ids[1] = (ids[0] + 1) % 4;
    }
    return routing;
  }

  // One micro-batch of two layers.
  struct Layer {
    Routing routing;
    int64_t num_dropped = 0;
    double aux_loss = 0;
    double z_loss = 0;
  };
  void Add(RoutingStatistics& statistics, const std::vector<Layer>& layers) {
    Pass pass(memory_);
    pass.Begin({}, static_cast<int>(layers.size()));
    for (size_t i = 0; i < layers.size(); ++i) {
      pass.routings[i] = layers[i].routing;
      pass.blocks[i].moe.num_dropped = layers[i].num_dropped;
      pass.aux_losses[i] = layers[i].aux_loss;
      pass.z_losses[i] = layers[i].z_loss;
    }
    statistics.Add(*kernels_, pass);
  }

  Arena memory_;
  std::unique_ptr<Kernels> kernels_ = MakeCpuKernels(1);
  RoutingStatistics statistics_{/*num_layers=*/2, /*num_experts=*/4,
                                /*top_k=*/2};
};

TEST_F(RoutingStatisticsTest, AreWhatAHandComputes) {
  const Routing first = MakeRouting({2, 0, 1, 1, 1, 0, 2, 1}, {0, 2, 3, 2},
                                    {.7f, .1f, .1f, .1f, .1f, .1f, .6f, .2f,  //
                                     .2f, .1f, .2f, .5f, .3f, 0, .4f, .3f});
  const Routing second = MakeRouting({1, 1, 1, 1, 1, 1, 1, 1}, {0, 1, 2, 3},
                                     std::vector<float>(16, 0.25f));
  Add(statistics_, {{first, 2, 1.25, 0.5}, {second, 0, 1, 0}});
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
  const Routing routing = MakeRouting({0, 8, 0, 0}, {1}, {0, 1, 0, 0});
  Add(statistics_, {{routing}, {routing}});
  const LayerRouting layer = statistics_.Layers()[1];
  EXPECT_DOUBLE_EQ(layer.load_max_over_mean, 4);
  EXPECT_DOUBLE_EQ(layer.load_cv, std::sqrt(3.0));
  EXPECT_EQ(layer.load_entropy, 0);
  EXPECT_EQ(layer.experts_without_tokens, 3);
}

// Micro-batches, or ranks whose totals are added up.
TEST_F(RoutingStatisticsTest, PartsAddUpToTheWhole) {
  const Layer low = {MakeRouting({2, 0, 1, 1}, {0, 2},
                                 {.7f, .1f, .1f, .1f, .1f, .1f, .6f, .2f}),
                     2, 0.5};
  const Layer high = {
      MakeRouting({1, 0, 2, 1}, {3, 2}, {.2f, .1f, .2f, .5f, .3f, 0, .4f, .3f}),
      1, 0.5};
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
  const Routing none = MakeRouting({}, {}, {});
  Add(statistics_, {{none}, {none}});
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
