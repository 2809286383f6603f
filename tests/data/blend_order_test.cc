#include "data/blend_order.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

namespace moe {
namespace {

using ::testing::HasSubstr;

BlendOrder MakeOrder(const std::vector<double>& weights) {
  absl::StatusOr<BlendOrder> order = BlendOrder::Create(weights);
  EXPECT_TRUE(order.ok()) << order.status();
  return *std::move(order);
}

TEST(BlendOrder, AfterEveryPrefixEachSourceIsWithinOneOfItsShare) {
  const std::vector<std::vector<double>> cases = {{1},
                                                  {0.7, 0.3},
                                                  {1, 1, 1},
                                                  {5, 3, 1, 1, 7},
                                                  {0.97, 0.01, 0.01, 0.01},
                                                  {1, 2, 4, 8, 16},
                                                  {3, 1e-3, 0.5},
                                                  {40000, 1, 1},
                                                  {6, 6, 2, 2, 2, 2}};
  for (const std::vector<double>& weights : cases) {
    const BlendOrder order = MakeOrder(weights);
    const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
    std::vector<int64_t> counts(weights.size());
    for (int64_t position = 0; position < 100000; ++position) {
      const BlendOrder::Place place = order.At(position);
      const size_t source = static_cast<size_t>(place.source);
      ASSERT_EQ(place.index, counts[source]) << position;
      ++counts[source];
      for (size_t i = 0; i < weights.size(); ++i) {
        const double share =
            static_cast<double>(position + 1) * weights[i] / sum;
        ASSERT_LT(std::abs(static_cast<double>(counts[i]) - share), 1.0)
            << "source " << i << " after " << position + 1;
      }
    }
  }
}

// The shares are then multiples of 1/65536, at most that far from the weights.
TEST(BlendOrder, IncommensurableWeightsAreRounded) {
  const std::vector<double> weights = {std::sqrt(2.0), std::sqrt(3.0), 0.1};
  const double sum = weights[0] + weights[1] + weights[2];
  const BlendOrder order = MakeOrder(weights);
  ASSERT_EQ(order.period(), BlendOrder::kMostPeriod);
  std::vector<int64_t> counts(3);
  for (int64_t position = 0; position < order.period(); ++position) {
    ++counts[static_cast<size_t>(order.At(position).source)];
  }
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(static_cast<double>(counts[i]),
                weights[i] / sum * BlendOrder::kMostPeriod, 1.0);
  }
}

TEST(BlendOrder, SimpleSharesHaveShortPeriods) {
  EXPECT_EQ(MakeOrder({7}).period(), 1);
  EXPECT_EQ(MakeOrder({0.7, 0.3}).period(), 10);
  EXPECT_EQ(MakeOrder({1, 1, 1}).period(), 3);
  EXPECT_EQ(MakeOrder({0.125, 0.5}).period(), 5);
}

TEST(BlendOrder, FarPositionsNeedNoTable) {
  const BlendOrder order = MakeOrder({0.7, 0.3});
  const int64_t far = int64_t{1} << 50;
  int64_t second = 0;
  for (int64_t i = 0; i < 10; ++i) second += order.At(far + i).source;
  EXPECT_EQ(second, 3);
  EXPECT_EQ(order.At(10 * far).index,
            (order.At(10 * far).source ? 3 : 7) * far);
}

TEST(BlendOrder, WeightsThatAreNoShareAreRefused) {
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double weight : {0.0, -1.0, infinity, std::nan("")}) {
    const absl::Status status = BlendOrder::Create({1.0, weight}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()),
                HasSubstr("weight of source 1 is"));
  }
  const absl::Status tiny = BlendOrder::Create({1e-9, 1.0}).status();
  EXPECT_EQ(tiny.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(tiny.message()),
              HasSubstr("weight of source 0 is 1e-09, must be at least 1/65536 "
                        "of the sum of all (1)"));
}

}  // namespace
}  // namespace moe
