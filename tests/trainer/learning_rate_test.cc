#include "trainer/step/learning_rate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <vector>

#include "trainer/report/run_summary.h"

namespace moe {
namespace {

using ::testing::StartsWith;

struct Shape {
  ScheduleConfig::Decay decay;
  int64_t steps;
  int64_t warmup;
  int64_t cooldown = 0;
};

constexpr int64_t kLength = 8;  // of a sequence

// From 8 down to 2.
TrainConfig Config(const Shape& shape) {
  TrainConfig config;
  ScheduleConfig& schedule = *config.mutable_schedule();
  schedule.set_decay(shape.decay);
  schedule.set_steps(shape.steps);
  schedule.set_warmup_steps(shape.warmup);
  schedule.set_cooldown_steps(shape.cooldown);
  schedule.set_min_learning_rate(2);
  config.mutable_optimizer()->set_learning_rate(8);
  config.mutable_batch()->set_sequence_length(kLength);
  return config;
}

double RateOf(const TrainConfig& config, const RunLength& length,
              int64_t update) {
  return LearningRate(config.schedule(), config.optimizer(), length, update);
}

// The rates of updates 1 to `steps`.
std::vector<double> Rates(const Shape& shape) {
  const TrainConfig config = Config(shape);
  std::vector<double> rates;
  for (int64_t update = 1; update <= shape.steps; ++update)
    rates.push_back(RateOf(config, RunLength(config), update));
  return rates;
}

// The same shape in the samples of its steps.
TrainConfig InTokens(const Shape& shape, int64_t samples, int global_size) {
  TrainConfig config = Config(shape);
  config.mutable_schedule()->set_steps(0);
  config.mutable_schedule()->set_tokens(samples * kLength);
  config.mutable_batch()->set_global_size(global_size);
  return config;
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
  const TrainConfig config = Config({ScheduleConfig::COSINE, 10, 0});
  EXPECT_EQ(RateOf(config, RunLength(config), 11), 2);
  EXPECT_EQ(RateOf(config, RunLength(config), 1000), 2);
}

// However large the batch, and whether the tokens fill the last step or not.
TEST(LearningRate, TokensGiveTheSameNumbersAsStepsWhileTheBatchIsTheSame) {
  const Shape shapes[] = {
      {ScheduleConfig::CONSTANT, 97, 10}, {ScheduleConfig::LINEAR, 97, 10},
      {ScheduleConfig::LINEAR, 1, 0},     {ScheduleConfig::COSINE, 12345, 7},
      {ScheduleConfig::COSINE, 40, 40},   {ScheduleConfig::WSD, 97, 10, 30},
      {ScheduleConfig::WSD, 30, 0, 30}};
  for (const Shape& shape : shapes) {
    const std::vector<double> expected = Rates(shape);
    for (int size : {1, 3, 7, 4096, 1000003}) {
      for (int64_t lacking : {0, size - 1}) {
        const TrainConfig config =
            InTokens(shape, shape.steps * size - lacking, size);
        for (int64_t begin : {int64_t{0}, shape.steps / 2}) {
          const RunLength length(config,
                                 {.step = begin, .samples = begin * size});
          ASSERT_EQ(length.last_step(), shape.steps);
          EXPECT_TRUE(length.changes().empty());
          for (int64_t update = 1; update <= shape.steps; ++update)
            ASSERT_EQ(RateOf(config, length, update),
                      expected[static_cast<size_t>(update - 1)])
                << update << " of " << shape.steps << ", size " << size;
        }
      }
    }
  }
}

// 8 steps of 10 samples, then steps of 40: 240 are 4 more.
TEST(LearningRate, TheDecayCountsTokensWhenTheBatchHasChanged) {
  TrainConfig config = InTokens({ScheduleConfig::LINEAR, 0, 2}, 240, 40);
  const RunLength length(config, {.step = 8, .samples = 80});
  ASSERT_EQ(length.last_step(), 12);
  // From sample 20, the end of the warm-up, to sample 240.
  const auto at = [](double samples) { return 8 - 6 * (samples - 20) / 220; };
  EXPECT_EQ(RateOf(config, length, 1), 4);
  EXPECT_EQ(RateOf(config, length, 2), 8);
  EXPECT_NEAR(RateOf(config, length, 8), at(80), 1e-12);
  EXPECT_NEAR(RateOf(config, length, 9), at(120), 1e-12);
  EXPECT_NEAR(RateOf(config, length, 11), at(200), 1e-12);
  EXPECT_EQ(RateOf(config, length, 12), 2);
  // Once more, to the old batch: where it was before counts on.
  config.mutable_batch()->set_global_size(10);
  const RunLength again(config, {.step = 10, .samples = 160}, length.changes());
  ASSERT_EQ(again.last_step(), 18);
  EXPECT_NEAR(RateOf(config, again, 8), at(80), 1e-12);
  EXPECT_NEAR(RateOf(config, again, 11), at(170), 1e-12);
  EXPECT_EQ(RateOf(config, again, 18), 2);
}

TEST(LearningRate, AWarmUpStaysInSteps) {
  const TrainConfig config =
      InTokens({ScheduleConfig::LINEAR, 0, 8}, 1000, 100);
  const RunLength length(config, {.step = 4, .samples = 40});
  for (int64_t update = 1; update <= 8; ++update)
    EXPECT_EQ(RateOf(config, length, update), update);
  // Longer than what is left of the run.
  const RunLength late(config, {.step = 4, .samples = 901});
  EXPECT_EQ(late.last_step(), 5);
  EXPECT_EQ(RateOf(config, late, 5), 5);
}

// 100 samples left at step 10, of which the cool-down would take 8 steps.
TEST(LearningRate, ACoolDownThatHasBegunGoesOnToTheEndWhateverTheBatch) {
  const Shape shape{ScheduleConfig::WSD, 0, 2, 8};
  TrainConfig config = InTokens(shape, 200, 10);
  const RunLength ten(config, {.step = 10, .samples = 100});
  EXPECT_EQ(ten.last_step(), 20);
  EXPECT_EQ(ten.CooldownBegin(8), 12);
  EXPECT_EQ(RateOf(config, ten, 16), 5);
  config = InTokens(shape, 200, 20);
  const RunLength twenty(config, {.step = 16, .samples = 160});
  EXPECT_EQ(twenty.last_step(), 18);
  EXPECT_EQ(twenty.CooldownBegin(8), 12);
  EXPECT_EQ(RateOf(config, twenty, 16), 5);
  EXPECT_EQ(RateOf(config, twenty, 17), 3.5);
  EXPECT_EQ(RateOf(config, twenty, 18), 2);
  // One that had not begun has as many steps of the new batch as there are.
  const RunLength early(config, {.step = 10, .samples = 100});
  EXPECT_EQ(early.last_step(), 15);
  EXPECT_EQ(early.CooldownBegin(8), 10);
  EXPECT_EQ(RateOf(config, early, 10), 8);
}

// Their steps may have taken next to nothing, or all that there was to take.
TEST(RunLength, TakesAnyPastThatACheckpointTells) {
  const TrainConfig config = InTokens({ScheduleConfig::WSD, 0, 2, 3}, 100, 10);
  for (const RunPosition& begin : {RunPosition{.step = 50, .samples = 0},
                                   RunPosition{.step = 50, .samples = 1},
                                   RunPosition{.step = 1, .samples = 99}}) {
    const RunLength length(config, begin);
    EXPECT_GE(length.CooldownBegin(3), 0);
    EXPECT_LE(length.CooldownBegin(3), length.last_step());
    double before = 8;
    for (int64_t update = begin.step + 1; update <= length.last_step();
         ++update) {
      const double rate = RateOf(config, length, update);
      ASSERT_TRUE(rate >= 2 && rate <= before) << rate;
      before = rate;
    }
  }
}

TEST(RunLength, EndsWithTheFirstStepThatReachesTheTokens) {
  const auto last = [](int64_t tokens, int global_size,
                       const RunPosition& begin) {
    TrainConfig config;
    config.mutable_schedule()->set_tokens(tokens);
    config.mutable_batch()->set_global_size(global_size);
    config.mutable_batch()->set_sequence_length(64);
    return RunLength(config, begin).last_step();
  };
  EXPECT_EQ(last(25600, 4, {}), 100);
  EXPECT_EQ(last(25601, 4, {}), 101);
  EXPECT_EQ(last(1, 4, {}), 1);
  EXPECT_EQ(last(25600, 2, {.step = 50, .samples = 200}), 150);
  EXPECT_EQ(last(25600, 8, {.step = 50, .samples = 200}), 75);
  EXPECT_EQ(last(25600, 7, {.step = 50, .samples = 200}), 79);
  EXPECT_EQ(last(25600, 8, {.step = 100, .samples = 400}), 100);
  EXPECT_EQ(last(25600, 8, {.step = 100, .samples = 800}), 100);
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max() / 2;
  EXPECT_EQ(last(kMost, 1 << 24, {}), (kMost - 1) / (int64_t{64} << 24) + 1);
}

TEST(RunLength, KeepsWhereTheBatchHasChanged) {
  TrainConfig config;
  config.mutable_schedule()->set_tokens(1000000);
  config.mutable_batch()->set_global_size(8);
  const RunPosition begin{.step = 50, .samples = 200};
  const RunLength first(config, begin);
  ASSERT_EQ(first.changes().size(), 1u);
  EXPECT_EQ(first.changes()[0].step, 50);
  EXPECT_EQ(first.changes()[0].samples, 200);
  // The same batch, or one that no step was made with, is no change.
  const RunPosition later{.step = 60, .samples = 280};
  EXPECT_EQ(RunLength(config, later, first.changes()).changes().size(), 1u);
  config.mutable_batch()->set_global_size(4);
  EXPECT_TRUE(RunLength(config, begin, first.changes()).changes().empty());
  EXPECT_EQ(RunLength(config, later, first.changes()).changes().size(), 2u);
}

TEST(RunSummary, CountsStepsOfOneBatchTogether) {
  TrainConfig config;
  config.mutable_schedule()->set_tokens(25600);
  config.mutable_batch()->set_global_size(2);
  config.mutable_batch()->set_sequence_length(64);
  const Mesh mesh = *Mesh::Create(1, 1, 1, 8);
  const auto steps = [&](const RunPosition& begin) {
    const RunLength length(config, begin);
    return RunSummary(config, mesh, length, begin.step)[1];
  };
  EXPECT_THAT(steps({}), StartsWith("200 steps of 128 tokens; "));
  EXPECT_THAT(steps({.step = 50, .samples = 100}),
              StartsWith("200 steps of 128 tokens; "));
  EXPECT_THAT(steps({.step = 50, .samples = 200}),
              StartsWith("100 more steps of 128 tokens; "));
}

}  // namespace
}  // namespace moe
