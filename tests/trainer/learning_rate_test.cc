#include "trainer/learning_rate.h"

#include <gtest/gtest.h>

#include <vector>

namespace moe {
namespace {

struct Shape {
  ScheduleConfig::Decay decay;
  int64_t steps;
  int64_t warmup;
  int64_t cooldown = 0;
};

// The rates of updates 1 to `steps`, from 8 down to 2.
std::vector<double> Rates(const Shape& shape) {
  ScheduleConfig schedule;
  schedule.set_decay(shape.decay);
  schedule.set_steps(shape.steps);
  schedule.set_warmup_steps(shape.warmup);
  schedule.set_cooldown_steps(shape.cooldown);
  schedule.set_min_learning_rate(2);
  OptimizerConfig optimizer;
  optimizer.set_learning_rate(8);
  std::vector<double> rates;
  for (int64_t update = 1; update <= shape.steps; ++update)
    rates.push_back(LearningRate(schedule, optimizer, update));
  return rates;
}

void ExpectNear(const std::vector<double>& rates,
                const std::vector<double>& expected) {
  ASSERT_EQ(rates.size(), expected.size());
  for (size_t i = 0; i < rates.size(); ++i)
    EXPECT_NEAR(rates[i], expected[i], 1e-12) << "update " << i + 1;
}

TEST(LearningRate, ConstantStaysWhereWarmUpEnds) {
  EXPECT_EQ(Rates({ScheduleConfig::CONSTANT, 6, 4}),
            (std::vector<double>{2, 4, 6, 8, 8, 8}));
  EXPECT_EQ(Rates({ScheduleConfig::CONSTANT, 3, 0}),
            (std::vector<double>{8, 8, 8}));
}

TEST(LearningRate, LinearFallsByEqualSteps) {
  EXPECT_EQ(Rates({ScheduleConfig::LINEAR, 6, 2}),
            (std::vector<double>{4, 8, 6.5, 5, 3.5, 2}));
  EXPECT_EQ(Rates({ScheduleConfig::LINEAR, 4, 0}),
            (std::vector<double>{8, 6, 4, 2}));
}

TEST(LearningRate, CosineFallsAlongHalfAWave) {
  // 5 + 3 cos(0, 60, 90, 120, 180 degrees).
  ExpectNear(Rates({ScheduleConfig::COSINE, 7, 1}),
             {8, 5 + 3 * 0.8660254037844386, 6.5, 5, 3.5,
              5 - 3 * 0.8660254037844386, 2});
}

TEST(LearningRate, WsdIsLevelUntilItCoolsDown) {
  EXPECT_EQ(Rates({ScheduleConfig::WSD, 9, 2, 3}),
            (std::vector<double>{4, 8, 8, 8, 8, 8, 6, 4, 2}));
}

TEST(LearningRate, NoWarmUpIsTheSameAsOneStepOfIt) {
  for (auto decay : {ScheduleConfig::LINEAR, ScheduleConfig::COSINE})
    EXPECT_EQ(Rates({decay, 9, 0}), Rates({decay, 9, 1}));
}

TEST(LearningRate, TheLastUpdateHasExactlyTheLeastRate) {
  for (int64_t steps : {2, 3, 7, 100, 12345}) {
    EXPECT_EQ(Rates({ScheduleConfig::LINEAR, steps, 1}).back(), 2);
    EXPECT_EQ(Rates({ScheduleConfig::COSINE, steps, 1}).back(), 2);
    EXPECT_EQ(Rates({ScheduleConfig::WSD, steps, 0, 1}).back(), 2);
  }
}

TEST(LearningRate, ARunOfWarmUpAloneHasNoDecay) {
  EXPECT_EQ(Rates({ScheduleConfig::COSINE, 4, 4}),
            (std::vector<double>{2, 4, 6, 8}));
  EXPECT_EQ(Rates({ScheduleConfig::COSINE, 1, 0}), (std::vector<double>{8}));
}

TEST(LearningRate, UpdatesPastTheEndKeepTheLastRate) {
  ScheduleConfig schedule;
  schedule.set_steps(10);
  schedule.set_min_learning_rate(1e-5);
  OptimizerConfig optimizer;
  EXPECT_EQ(LearningRate(schedule, optimizer, 11), 1e-5);
  EXPECT_EQ(LearningRate(schedule, optimizer, 1000), 1e-5);
}

}  // namespace
}  // namespace moe
