// What the steps say that they were trained on is what the run's order of
// samples says, whoever trained it.

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/mpi_test.h"
#include "tests/trainer/trainer_fixture.h"
#include "trainer/step/batch_digest.h"

namespace moe {
namespace {

constexpr int kLength = 12;
constexpr int kGlobalSize = 10;

TrainConfig Config(int tensor, int micro_size, bool reset_attention) {
  TrainConfig config = SmallConfig();
  config.mutable_batch()->set_sequence_length(kLength);
  config.mutable_batch()->set_global_size(kGlobalSize);
  config.mutable_batch()->set_micro_size(micro_size);
  config.mutable_data()->set_reset_attention(reset_attention);
  config.mutable_parallel()->set_tensor(tensor);
  return config;
}

// Of the samples at [first, first + kGlobalSize), read one by one.
uint64_t Expected(const SampleSequence& samples, int64_t first,
                  bool reset_attention) {
  std::vector<int32_t> inputs(kLength), targets(kLength), positions(kLength);
  uint64_t sum = 0;
  for (int64_t i = 0; i < kGlobalSize; ++i) {
    const absl::Status read = samples.Read(
        first + i, absl::MakeSpan(inputs), absl::MakeSpan(targets),
        reset_attention ? absl::MakeSpan(positions) : absl::Span<int32_t>());
    EXPECT_TRUE(read.ok()) << read;
    TokenBlock tokens;
    tokens.count = 1;
    tokens.inputs = inputs;
    tokens.targets = targets;
    if (reset_attention) tokens.positions = positions;
    sum += BatchDigest(first + i, tokens);
  }
  return sum % kBatchDigestLimit;
}

TEST(TrainedBatches, AreThoseOfTheRunsOrderOnAnyLayout) {
  for (int tensor : {1, 2}) {
    if (TestRuntime().world() % tensor != 0) continue;
    for (int micro_size : {1, 2, 10}) {
      for (bool reset_attention : {false, true}) {
        SCOPED_TRACE(absl::StrCat("tensor ", tensor, " micro ", micro_size,
                                  " reset ", reset_attention));
        const TrainConfig config = Config(tensor, micro_size, reset_attention);
        const RandomSamples samples(config.model().vocab_size(), kLength);
        constexpr int64_t kConsumed = 57;  // an epoch ends in the first step
        TestTrainer trainer(config, /*alone=*/false, &samples,
                            {.step = 3, .consumed_samples = kConsumed});
        for (int64_t step = 0; step < 3; ++step) {
          const absl::StatusOr<StepReport> report = trainer->TrainStep();
          ASSERT_TRUE(report.ok()) << report.status();
          EXPECT_EQ(report->batch_digest,
                    Expected(samples, kConsumed + step * kGlobalSize,
                             reset_attention));
        }
      }
    }
  }
}

}  // namespace
}  // namespace moe
