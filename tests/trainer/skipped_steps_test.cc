// Steps whose loss is not finite, and that training passes over.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/mpi_test.h"
#include "tests/test_device.h"
#include "tests/trainer/planted_weights.h"
#include "tests/trainer/trainer_fixture.h"
#include "trainer/checkpoint/format/state_piece.h"

namespace moe {
namespace {

using testing::HasSubstr;

TrainConfig Config(int64_t max_skipped_steps) {
  TrainConfig config = SmallConfig();
  const int world = TestRuntime().world();
  config.mutable_model()->set_num_key_value_heads(4);
  config.mutable_batch()->set_sequence_length(12);
  config.mutable_batch()->set_micro_size(3);
  config.mutable_parallel()->set_tensor(world % 2 == 0 ? 2 : 1);
  config.mutable_parallel()->set_expert(world);
  config.mutable_optimizer()->set_max_skipped_steps(max_skipped_steps);
  return config;
}

// Samples of which step `step`, and no other, cannot be computed.
LitSamples LitIn(const TrainConfig& config, const std::set<int64_t>& steps) {
  std::set<int64_t> positions;
  for (int64_t step : steps)
    positions.insert((step - 1) * config.batch().global_size() + 7);
  return LitSamples(config, positions, /*place=*/4);
}

std::string BytesOf(const std::vector<float>& values) {
  return std::string(reinterpret_cast<const char*>(values.data()),
                     values.size() * sizeof(float));
}

// Every bit of this rank's weights and moments.
std::vector<std::string> StateOf(Trainer& trainer) {
  std::vector<std::string> state;
  for (ArenaKind kind : kAllArenaKinds)
    state.push_back(HostBytes(trainer.weights().arena(kind)));
  trainer.optimizer().ForEachOwned([&](const OwnedRun& run) {
    for (const OptimizerState& kind : kOptimizerStates) {
      std::vector<float> values(static_cast<size_t>(run.count));
      EXPECT_TRUE(trainer.optimizer()
                      .CopyState(run, kind.name, absl::MakeSpan(values))
                      .ok());
      state.push_back(BytesOf(values));
    }
  });
  return state;
}

// Steps [from, to] of the trainer, which all work.
StepReport TrainSteps(TestTrainer& trainer, int64_t from, int64_t to) {
  StepReport last;
  for (int64_t step = from; step <= to; ++step) {
    const absl::StatusOr<StepReport> report = trainer->TrainStep();
    EXPECT_TRUE(report.ok()) << report.status();
    if (!report.ok()) break;
    EXPECT_EQ(report->step, step);
    EXPECT_FALSE(report->skipped) << Describe(*trainer->non_finite());
    last = *report;
  }
  return last;
}

TEST(SkippedSteps, LeaveEveryBitOfTheStateAndCountAllElse) {
  const TrainConfig config = Config(/*max_skipped_steps=*/2);
  const LitSamples samples = LitIn(config, {3});
  TestTrainer trainer(config, /*alone=*/false, &samples);
  SetWeights(*trainer, config, LightTrap);
  EXPECT_EQ(TrainSteps(trainer, 1, 2).skipped_steps, 0);
  const std::vector<std::string> before = StateOf(*trainer);
  const absl::StatusOr<StepReport> skipped = trainer->TrainStep();
  ASSERT_TRUE(skipped.ok()) << skipped.status();
  EXPECT_TRUE(skipped->skipped);
  EXPECT_EQ(skipped->step, 3);
  EXPECT_EQ(skipped->tokens, 3 * 10 * 12);
  EXPECT_EQ(skipped->skipped_steps, 1);
  EXPECT_FALSE(std::isfinite(skipped->losses.cross_entropy));
  EXPECT_THAT(Describe(*trainer->non_finite()),
              HasSubstr("the loss of step 3 is not finite: the first such "
                        "value, "));
  EXPECT_EQ(StateOf(*trainer), before);
  EXPECT_EQ(trainer->step(), 3);
  EXPECT_EQ(trainer->consumed_samples(), 30);
  EXPECT_EQ(TrainSteps(trainer, 4, 5).skipped_steps, 1);
  EXPECT_NE(StateOf(*trainer), before);
}

// The samples without those of one step.
class Without : public SampleSequence {
 public:
  Without(const SampleSequence& all, int64_t first, int64_t count)
      : all_(all), first_(first), count_(count) {}
  int64_t samples_per_epoch() const override {
    return all_.samples_per_epoch();
  }
  int64_t SampleAt(int64_t position) const override {
    return all_.SampleAt(Place(position));
  }
  absl::Status Read(int64_t position, absl::Span<int32_t> inputs,
                    absl::Span<int32_t> targets,
                    absl::Span<int32_t> positions) const override {
    return all_.Read(Place(position), inputs, targets, positions);
  }

 private:
  int64_t Place(int64_t position) const {
    return position < first_ ? position : position + count_;
  }
  const SampleSequence& all_;
  int64_t first_;
  int64_t count_;
};

// So that the moments' bias is corrected for the updates that were made.
TEST(SkippedSteps, AreAsThoughTheirSamplesWereNotThere) {
  const TrainConfig config = Config(/*max_skipped_steps=*/1);
  const LitSamples samples = LitIn(config, {2});
  TestTrainer skipping(config, /*alone=*/false, &samples);
  SetWeights(*skipping, config, LightTrap);
  TrainSteps(skipping, 1, 1);
  const absl::StatusOr<StepReport> skipped = skipping->TrainStep();
  ASSERT_TRUE(skipped.ok() && skipped->skipped) << skipped.status();
  TrainSteps(skipping, 3, 5);

  const Without others(samples, /*first=*/10, /*count=*/10);
  TestTrainer without(config, /*alone=*/false, &others);
  SetWeights(*without, config, LightTrap);
  TrainSteps(without, 1, 4);
  EXPECT_EQ(StateOf(*skipping), StateOf(*without));
}

TEST(SkippedSteps, OneMoreThanAllowedFailsOnAllRanks) {
  const TrainConfig config = Config(/*max_skipped_steps=*/2);
  const LitSamples samples = LitIn(config, {1, 2, 4});
  TestTrainer trainer(config, /*alone=*/false, &samples);
  SetWeights(*trainer, config, LightTrap);
  for (int step = 1; step <= 2; ++step) {
    const absl::StatusOr<StepReport> report = trainer->TrainStep();
    ASSERT_TRUE(report.ok() && report->skipped) << report.status();
    EXPECT_EQ(report->skipped_steps, step);
  }
  TrainSteps(trainer, 3, 3);
  const std::vector<std::string> before = StateOf(*trainer);
  const absl::Status status = trainer->TrainStep().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange);
  EXPECT_TRUE(IsAgreed(status));
  EXPECT_EQ(status.message(), absl::StrCat(Describe(*trainer->non_finite()),
                                           "; steps skipped before: 2, "
                                           "optimizer.max_skipped_steps is 2"));
  EXPECT_EQ(StateOf(*trainer), before);
  EXPECT_EQ(trainer->step(), 3);
  EXPECT_EQ(trainer->consumed_samples(), 30);
}

TEST(SkippedSteps, OfARunThatGoesOnCountToo) {
  const TrainConfig config = Config(/*max_skipped_steps=*/2);
  const LitSamples samples = LitIn(config, {7, 8});
  TestTrainer trainer(config, /*alone=*/false, &samples,
                      {.step = 6, .consumed_samples = 60, .skipped_steps = 1});
  SetWeights(*trainer, config, LightTrap);
  const absl::StatusOr<StepReport> seventh = trainer->TrainStep();
  ASSERT_TRUE(seventh.ok() && seventh->skipped) << seventh.status();
  EXPECT_EQ(seventh->skipped_steps, 2);
  EXPECT_THAT(std::string(trainer->TrainStep().status().message()),
              HasSubstr("; steps skipped before: 2"));
}

// No other batch would do better, and the next checkpoint would hold them.
TEST(SkippedSteps, AreNoneWhenTheWeightsThemselvesAreNotFinite) {
  const TrainConfig config = Config(/*max_skipped_steps=*/100);
  TestTrainer trainer(config, /*alone=*/false);
  const Parameter* gate =
      FindLocal(*trainer, "model.layers.0.block_sparse_moe.gate.weight");
  Plant(*trainer, *gate, 5, std::numeric_limits<float>::quiet_NaN());
  const absl::Status status = trainer->TrainStep().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange);
  EXPECT_TRUE(IsAgreed(status));
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("model.layers.0.block_sparse_moe.gate.weight itself "
                        "holds nan on rank 0 ("));
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("), which skipping the step would not mend"));
}

}  // namespace
}  // namespace moe
