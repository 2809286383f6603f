// data.reset_attention: what the losses are divided by when the number of
// targets is the data's.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "comm/base/buffer.h"
#include "tests/counted_heap.h"
#include "tests/mpi_test.h"
#include "tests/test_device.h"
#include "tests/trainer/trainer_fixture.h"

namespace moe {
namespace {

TrainConfig DocumentsConfig() {
  TrainConfig config = SmallConfig();
  config.mutable_data()->set_reset_attention(true);
  return config;
}

// A model that finds every piece equally likely.
void MakeEveryWeightZero(Trainer& trainer) {
  const absl::Status status =
      trainer.optimizer().Initialize([](ArenaKind, int64_t, auto out) {
        std::fill(out.begin(), out.end(), 0.0f);
        return absl::OkStatus();
      });
  ASSERT_TRUE(status.ok()) << status;
}

TEST(Documents, TheLossIsTheMeanOverTheTargetsThatAreLeft) {
  TestTrainer trainer(DocumentsConfig(), /*alone=*/false);
  MakeEveryWeightZero(*trainer);
  const double each = std::log(53);  // pieces
  for (const int64_t batches : {1, 3, 0}) {
    const absl::StatusOr<double> valid = trainer->ValidationLoss(batches);
    ASSERT_TRUE(valid.ok()) << valid.status();
    EXPECT_NEAR(*valid / each, 1, 1e-6) << batches << " batches";
  }
  const absl::StatusOr<StepReport> report = trainer->TrainStep();
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_NEAR(report->losses.cross_entropy / each, 1, 1e-6);
  // Consumed, whatever is learned from them.
  EXPECT_EQ(report->tokens, 90);
  // The router's logits are 0: log 8 squared, in each of two layers.
  EXPECT_NEAR(report->losses.z / (2 * std::pow(std::log(8), 2)), 1, 1e-6);
  EXPECT_NEAR(report->losses.aux, 2, 1e-6);
}

TEST(Documents, ValidationGivesTheLossOfATrainingStep) {
  TestTrainer trainer(DocumentsConfig(), /*alone=*/false);
  TestTrainer whole(SmallConfig(), /*alone=*/false);
  const absl::StatusOr<double> valid = trainer->ValidationLoss(1);
  const absl::StatusOr<StepReport> step = trainer->TrainStep();
  ASSERT_TRUE(valid.ok() && step.ok());
  EXPECT_NEAR(*valid / step->losses.cross_entropy, 1, 1e-6);
  const absl::StatusOr<double> of_whole = whole->ValidationLoss(1);
  ASSERT_TRUE(of_whole.ok());
  EXPECT_GT(std::abs(*of_whole / *valid - 1), 1e-4);
}

// Every token is a document of its own.
class LoneTokens : public RandomSamples {
 public:
  using RandomSamples::RandomSamples;
  absl::Status Read(int64_t position, absl::Span<int32_t> inputs,
                    absl::Span<int32_t> targets,
                    absl::Span<int32_t> positions) const override {
    const absl::Status status =
        RandomSamples::Read(position, inputs, targets, positions);
    std::fill(positions.begin(), positions.end(), 0);
    std::fill(targets.begin(), targets.end(), -1);
    return status;
  }
};

TEST(Documents, ABatchWithoutAnyTargetIsNoLossAndNoAccident) {
  TrainConfig config = DocumentsConfig();
  config.mutable_router()->set_aux_loss_coefficient(0);
  config.mutable_router()->set_z_loss_coefficient(0);
  const LoneTokens samples(config.model().vocab_size(),
                           config.batch().sequence_length());
  TestTrainer trainer(config, /*alone=*/false, &samples);
  for (int step = 0; step < 2; ++step) {
    const absl::StatusOr<StepReport> report = trainer->TrainStep();
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_FALSE(report->has_targets);
    EXPECT_EQ(report->losses.cross_entropy, 0);
    EXPECT_EQ(report->grad_norm, 0);
  }
  const std::unique_ptr<Kernels> kernels = TestKernels(/*threads=*/1);
  const auto validated = Trainer::Create(config, {.mesh = trainer.mesh(),
                                                  .groups = trainer.groups(),
                                                  .kernels = *kernels,
                                                  .train = samples,
                                                  .valid = &samples});
  ASSERT_TRUE(validated.ok()) << validated.status();
  const absl::StatusOr<double> loss = (*validated)->ValidationLoss(1);
  ASSERT_TRUE(loss.ok()) << loss.status();
  EXPECT_TRUE(std::isnan(*loss)) << *loss;
}

// Every token a document of its own that still has a target, in either order.
class Pairs : public RandomSamples {
 public:
  Pairs(const TrainConfig& config, bool backwards)
      : RandomSamples(config.model().vocab_size(),
                      config.batch().sequence_length()),
        backwards_(backwards) {}
  absl::Status Read(int64_t position, absl::Span<int32_t> inputs,
                    absl::Span<int32_t> targets,
                    absl::Span<int32_t> positions) const override {
    const absl::Status status =
        RandomSamples::Read(position, inputs, targets, /*positions=*/{});
    std::fill(positions.begin(), positions.end(), 0);
    if (!backwards_) return status;
    std::reverse(inputs.begin(), inputs.end());
    std::reverse(targets.begin(), targets.end());
    return status;
  }

 private:
  bool backwards_;
};

TEST(Documents, TheirOrderInASampleDoesNotMatter) {
  for (const bool reset : {true, false}) {
    TrainConfig config = SmallConfig();
    config.mutable_data()->set_reset_attention(reset);
    const Pairs forwards(config, /*backwards=*/false);
    const Pairs backwards(config, /*backwards=*/true);
    TestTrainer a(config, /*alone=*/false, &forwards);
    TestTrainer b(config, /*alone=*/false, &backwards);
    const absl::StatusOr<StepReport> of_a = a->TrainStep();
    const absl::StatusOr<StepReport> of_b = b->TrainStep();
    ASSERT_TRUE(of_a.ok() && of_b.ok());
    const double difference =
        of_a->losses.cross_entropy / of_b->losses.cross_entropy - 1;
    if (reset) {
      EXPECT_NEAR(difference, 0, 1e-6);
      EXPECT_NEAR(of_a->grad_norm / of_b->grad_norm, 1, 1e-5);
    } else {
      EXPECT_GT(std::abs(difference), 1e-5);
    }
  }
}

TEST(Documents, AStepTakesNoNewMemory) {
  if (TestRuntime().world() > 1) GTEST_SKIP() << "messages take some in time";
  TestTrainer trainer(DocumentsConfig(), /*alone=*/false);
  auto steps = [&](int count) {
    for (int i = 0; i < count; ++i) ASSERT_TRUE(trainer->TrainStep().ok());
  };
  steps(3);
  const int64_t buffers = Buffer::num_allocated();
  const int64_t heap = LiveHeapBytes();
  steps(20);
  EXPECT_EQ(Buffer::num_allocated(), buffers);
  EXPECT_EQ(LiveHeapBytes(), heap);
}

}  // namespace
}  // namespace moe
