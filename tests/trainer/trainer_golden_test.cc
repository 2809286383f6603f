// Ten AdamW steps against transformers' in double precision, the network, the
// auxiliary loss, clipping and the optimizer together.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/golden_file.h"
#include "tests/trainer/trainer_fixture.h"

namespace moe {
namespace {

// The golden batches: inputs and targets of [steps, B, L].
class GoldenSamples : public SampleSequence {
 public:
  explicit GoldenSamples(const GoldenFile& golden)
      : inputs_(golden.Inputs("batches")),
        targets_(golden.Targets("batches")),
        batch_(golden.Shape("batches")[1]),
        length_(golden.Shape("batches")[2] - 1) {}

  int64_t batch() const { return batch_; }
  int64_t length() const { return length_; }
  int64_t samples_per_epoch() const override {
    return static_cast<int64_t>(inputs_.size()) / length_;
  }
  int64_t SampleAt(int64_t position) const override {
    return position % samples_per_epoch();
  }
  absl::Status Read(int64_t position, absl::Span<int32_t> inputs,
                    absl::Span<int32_t> targets,
                    absl::Span<int32_t> /*positions*/) const override {
    const int64_t first = SampleAt(position) * length_;
    std::copy_n(inputs_.begin() + first, length_, inputs.begin());
    std::copy_n(targets_.begin() + first, length_, targets.begin());
    return absl::OkStatus();
  }

 private:
  std::vector<int32_t> inputs_;
  std::vector<int32_t> targets_;
  int64_t batch_;
  int64_t length_;
};

// As in golden/make_golden.py.
TrainConfig GoldenConfig(const GoldenFile& golden,
                         const GoldenSamples& samples) {
  TrainConfig config = SmallConfig();
  *config.mutable_model() = golden.model();
  *config.mutable_router() = golden.router();
  config.mutable_batch()->set_global_size(static_cast<int>(samples.batch()));
  config.mutable_batch()->set_sequence_length(
      static_cast<int>(samples.length()));
  config.mutable_schedule()->set_steps(10);
  config.mutable_schedule()->set_warmup_steps(3);
  OptimizerConfig& optimizer = *config.mutable_optimizer();
  optimizer.set_learning_rate(1e-3);
  optimizer.set_beta1(0.9);
  optimizer.set_beta2(0.95);
  optimizer.set_epsilon(1e-8);
  optimizer.set_weight_decay(0.1);
  optimizer.set_clip_norm(1);
  return config;
}

class TrainerGoldenTest : public testing::TestWithParam<std::string> {};

TEST_P(TrainerGoldenTest, TenStepsFollowTransformers) {
  const GoldenFile golden(GetParam());
  const GoldenSamples samples(golden);
  TestTrainer trainer(GoldenConfig(golden, samples), /*alone=*/true, &samples);
  SetParameters(golden.Below("weight/"), trainer->table(), trainer->weights());

  for (size_t step = 0; step < 10; ++step) {
    SCOPED_TRACE(step + 1);
    const absl::StatusOr<StepReport> report = trainer->TrainStep();
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_NEAR(report->losses.cross_entropy / golden["step_loss"][step], 1,
                1e-5);
    EXPECT_NEAR(report->losses.aux / golden["step_aux_loss"][step], 1, 1e-5);
    EXPECT_NEAR(report->grad_norm / golden["step_grad_norm"][step], 1, 1e-4);
    EXPECT_NEAR(report->learning_rate / golden["step_learning_rate"][step], 1,
                1e-6);
  }
  const NamedTensors weights =
      GetParameters(trainer->table(), trainer->weights());
  const NamedTensors expected = golden.Below("after/");
  ASSERT_EQ(weights.size(), expected.size());
  for (const auto& [name, values] : expected)
    EXPECT_LE(RelativeDifference(weights.at(name), values), 1e-4) << name;
}

INSTANTIATE_TEST_SUITE_P(Models, TrainerGoldenTest,
                         testing::Values("mixtral_tiny", "mixtral_tied"));

}  // namespace
}  // namespace moe
