#include "trainer/step/trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "comm/base/buffer.h"
#include "comm/trace.h"
#include "tests/counted_heap.h"
#include "tests/mpi_test.h"
#include "tests/test_device.h"
#include "tests/trainer/trainer_fixture.h"
#include "trainer/checkpoint/format/state_piece.h"

namespace moe {
namespace {

using testing::HasSubstr;

TEST(Trainer, LossFallsOnRepeatedSequences) {
  TrainConfig config = SmallConfig();
  config.mutable_optimizer()->set_learning_rate(3e-3);
  RandomSamples samples(config.model().vocab_size(),
                        config.batch().sequence_length(),
                        config.batch().global_size());
  TestTrainer trainer(config, /*alone=*/false, &samples);
  double first = 0;
  double last = 0;
  for (int step = 1; step <= 40; ++step) {
    const absl::StatusOr<StepReport> report = trainer->TrainStep();
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_EQ(report->step, step);
    EXPECT_EQ(report->tokens, step * 90);
    if (step == 1) first = report->losses.cross_entropy;
    last = report->losses.cross_entropy;
  }
  EXPECT_LT(last, 0.8 * first);
}

// Once `warm_up` steps have found out how much they need.
void ExpectNoNewMemory(const TrainConfig& config, int warm_up) {
  TestTrainer trainer(config, /*alone=*/false);
  auto steps = [&](int count) {
    for (int i = 0; i < count; ++i) ASSERT_TRUE(trainer->TrainStep().ok());
  };
  steps(warm_up);
  const int64_t buffers = Buffer::num_allocated();
  const int64_t heap = LiveHeapBytes();
  steps(47);
  if (TestRuntime().world() == 1) {
    EXPECT_EQ(Buffer::num_allocated(), buffers);
    EXPECT_EQ(LiveHeapBytes(), heap);
    return;
  }
  // How many messages are under way at once is a matter of timing, and a new
  // largest number takes a little more for good; a leak of 350 bytes a step
  // would be seen.
  EXPECT_LE(Buffer::num_allocated() - buffers, 16);
  EXPECT_LE(LiveHeapBytes() - heap, 16 << 10);
}

TEST(Trainer, AStepTakesNoNewMemory) {
  ExpectNoNewMemory(SmallConfig(), /*warm_up=*/3);
}

TEST(Trainer, AStepThatDropsTakesNoNewMemory) {
  TrainConfig config = SmallConfig();
  config.mutable_router()->set_capacity_factor(0.9);
  ExpectNoNewMemory(config, /*warm_up=*/20);
}

// On every rank together, or a rank that is last would find nothing early.
TEST(Trainer, GradientsArriveWhileBackwardRuns) {
  if (TestRuntime().world() == 1) GTEST_SKIP() << "needs two ranks";
  TrainConfig config = SmallConfig();
  config.mutable_model()->set_hidden_size(64);
  config.mutable_model()->set_intermediate_size(128);
  config.mutable_model()->set_num_hidden_layers(6);
  config.mutable_batch()->set_global_size(32);
  config.mutable_batch()->set_sequence_length(64);
  config.mutable_parallel()->set_expert(1);
  // Fewer buckets than may be open: nothing but Progress looks at them.
  config.mutable_parallel()->set_bucket_elements(1 << 17);
  TestTrainer trainer(config, /*alone=*/false);
  int64_t early = 0;
  for (int step = 0; step < 3; ++step) {
    ASSERT_TRUE(trainer->TrainStep().ok());
    early += trainer->reducer().bytes_arrived_during_backward();
  }
  ASSERT_TRUE(trainer.world()
                  .AllReduce(ViewOf(absl::MakeSpan(&early, 1)), ReduceOp::kSum)
                  .ok());
  EXPECT_GT(early, 0);
}

// Weights as a function of the name, so that a gate can be made to prefer one
// expert.
void MakeEveryTokenPreferExpertZero(Trainer& trainer) {
  const ParameterTable& table = trainer.table();
  const absl::Status status = trainer.optimizer().Initialize(
      [&](ArenaKind kind, int64_t begin, absl::Span<float> out) {
        std::fill(out.begin(), out.end(), 0.05f);
        for (const Parameter& parameter : table.parameters()) {
          if (parameter.arena != kind || !parameter.local) continue;
          const int64_t width = parameter.shape.back();
          const bool gate = parameter.name.find(".gate.") != std::string::npos;
          if (!gate) continue;
          for (size_t i = 0; i < out.size(); ++i) {
            const int64_t element =
                begin + static_cast<int64_t>(i) - parameter.offset;
            if (element < 0 || element >= parameter.size) continue;
            out[i] = element < 2 * width ? 1.0f : -1.0f;
          }
        }
        return absl::OkStatus();
      });
  ASSERT_TRUE(status.ok()) << status;
}

TEST(Trainer, ASkewedRouterAndRanksWithoutTokensDoNotHang) {
  TrainConfig config = SmallConfig();
  config.mutable_batch()->set_global_size(3);
  TestTrainer trainer(config, /*alone=*/false);
  MakeEveryTokenPreferExpertZero(*trainer);
  for (int step = 0; step < 3; ++step) {
    const absl::StatusOr<StepReport> report = trainer->TrainStep();
    ASSERT_TRUE(report.ok()) << report.status();
    if (step > 0) continue;
    // Experts 0 and 1 took everything.
    EXPECT_EQ(report->layers[0].load_max_over_mean, 4);
    EXPECT_EQ(report->layers[0].load_min_over_mean, 0);
    EXPECT_NEAR(report->layers[0].load_cv, std::sqrt(3), 1e-12);
    EXPECT_NEAR(report->layers[0].load_entropy, 1.0 / 3, 1e-12);
    EXPECT_EQ(report->layers[0].experts_without_tokens, 6);
  }
}

TEST(Trainer, AStopThatOneRankAsksForReachesAll) {
  TestTrainer trainer(SmallConfig(), /*alone=*/false);
  ASSERT_FALSE(trainer->TrainStep()->stop_requested);
  if (trainer.world().rank() == trainer.world().size() - 1)
    trainer->RequestStop();
  EXPECT_TRUE(trainer->TrainStep()->stop_requested);
}

// Every weight after three steps, whatever backward keeps: with tensor groups
// and micro-batches, dropped tokens and in both types.
TEST(Trainer, WhatIsComputedAgainIsTheSameBits) {
  for (const auto dtype : {RunConfig::FLOAT32, RunConfig::BFLOAT16}) {
    TrainConfig config = SmallConfig();
    config.mutable_run()->set_compute_dtype(dtype);
    config.mutable_router()->set_capacity_factor(1.5);
    config.mutable_batch()->set_sequence_length(12);
    config.mutable_batch()->set_micro_size(1);
    if (TestRuntime().world() % 2 == 0)
      config.mutable_parallel()->set_tensor(2);
    std::vector<float> kept;
    int64_t kept_bytes = 0;
    for (const auto recompute :
         {RunConfig::NONE, RunConfig::EXPERTS, RunConfig::BLOCK}) {
      config.mutable_run()->set_recompute(recompute);
      TestTrainer trainer(config, /*alone=*/false);
      for (int step = 0; step < 3; ++step)
        ASSERT_TRUE(trainer->TrainStep().ok());
      std::vector<float> weights;
      for (ArenaKind kind : kAllArenaKinds) {
        std::vector<float> arena(
            static_cast<size_t>(trainer->table().ArenaSize(kind)));
        ASSERT_TRUE(
            trainer->optimizer().Gather(kind, 0, absl::MakeSpan(arena)).ok());
        weights.insert(weights.end(), arena.begin(), arena.end());
      }
      const int64_t bytes = trainer->pass().saved.peak_bytes() +
                            trainer->pass().routing.peak_bytes();
      if (recompute == RunConfig::NONE) {
        kept = weights;
      } else {
        EXPECT_LT(bytes, kept_bytes) << "it keeps less";
      }
      kept_bytes = bytes;
      EXPECT_EQ(weights, kept) << RunConfig::Recompute_Name(recompute);
    }
  }
}

// Or what it costs would be hidden among "other".
TEST(Trainer, WhatIsComputedAgainCountsForTheStageItIsOf) {
  for (const auto recompute :
       {RunConfig::NONE, RunConfig::EXPERTS, RunConfig::BLOCK}) {
    TrainConfig config = SmallConfig();
    config.mutable_run()->set_recompute(recompute);
    TestTrainer trainer(config, /*alone=*/false);
    StartTrace(/*capacity=*/1 << 16);
    ASSERT_TRUE(trainer->TrainStep().ok());
    int64_t dropped = 0;
    std::set<std::string> in_backward;  // of a layer, each stage
    bool backward = false;
    for (const TraceEvent& event : TakeTrace(&dropped)) {
      if (event.kind != TraceEvent::Kind::kPhase) continue;
      const std::string name = event.name;
      if (name == "head") backward = true;
      if (name == "embedding") backward = false;  // of the next micro-step
      if (backward && event.position.layer >= 0) in_backward.insert(name);
    }
    EXPECT_EQ(dropped, 0);
    for (const char* stage : {"dispatch", "experts"})
      EXPECT_EQ(in_backward.contains(stage), recompute != RunConfig::NONE)
          << stage << ", " << RunConfig::Recompute_Name(recompute);
    EXPECT_EQ(in_backward.contains("attention"), recompute == RunConfig::BLOCK);
    EXPECT_TRUE(in_backward.contains("experts backward"));
  }
}

// All tokens go to one rank's experts (equal logits choose the lowest): in
// parts the rows of each part alone are in memory. With weights that are not
// all alike the parts change the result by rounding only.
TEST(Trainer, RowsInPartsTakeTheMemoryOfOnePart) {
  TrainConfig config = SmallConfig();
  config.mutable_run()->set_recompute(RunConfig::EXPERTS);
  config.mutable_batch()->set_sequence_length(12);
  const auto peak = [&](TestTrainer& trainer) {
    return trainer->pass().saved.peak_bytes() +
           trainer->pass().scratch.peak_bytes();
  };
  const auto train = [&](int64_t rows, double range) {
    config.mutable_run()->set_expert_chunk_rows(rows);
    config.mutable_model()->set_initializer_range(range);
    auto trainer = std::make_unique<TestTrainer>(config, /*alone=*/false);
    EXPECT_TRUE((*trainer)->TrainStep().ok());
    return trainer;
  };
  const auto whole = train(1 << 20, 0);
  const auto parts = train(16, 0);
  if (whole->world().rank() == 0) {
    EXPECT_LT(peak(*parts), peak(*whole));
  }
  const auto calm = train(1 << 20, 0.15);
  const auto calm_parts = train(7, 0.15);
  for (ArenaKind kind : kTrainedArenaKinds) {
    const auto count = static_cast<size_t>((*calm)->table().ArenaSize(kind));
    const auto a = HostValues<float>((*calm)->gradients().arena(kind));
    const auto b = HostValues<float>((*calm_parts)->gradients().arena(kind));
    double difference = 0;
    double norm = 0;
    for (size_t i = 0; i < count; ++i) {
      difference += (a[i] - b[i]) * (a[i] - b[i]);
      norm += a[i] * a[i];
    }
    EXPECT_LE(std::sqrt(difference), 1e-6 * std::sqrt(norm))
        << static_cast<int>(kind);
    EXPECT_GT(norm, 0);
  }
}

// One message of row counts a layer says what is in every part, in forward and
// in backward: parts send the bytes of the whole.
TEST(Trainer, RowsInPartsSendWhatTheWholeSends) {
  TrainConfig config = SmallConfig();
  config.mutable_run()->set_recompute(RunConfig::EXPERTS);
  const auto sent_bytes = [&](int64_t rows) {
    config.mutable_run()->set_expert_chunk_rows(rows);
    TestTrainer trainer(config, /*alone=*/false);
    const ProcessGroup& group = trainer.groups()[Axis::kExpert];
    const int64_t before = group.traffic().sent_bytes;
    EXPECT_TRUE(trainer->TrainStep().ok());
    return group.traffic().sent_bytes - before;
  };
  EXPECT_EQ(sent_bytes(7), sent_bytes(1 << 20));
}

// As a restart does with runs that are too long for one piece.
TEST(Trainer, StateOfARunIsCopiedAndSetByParts) {
  TestTrainer trainer(SmallConfig(), /*alone=*/false);
  ASSERT_TRUE(trainer->TrainStep().ok());
  ShardedAdamW& optimizer = trainer->optimizer();
  const auto copy = [&](const OwnedRun& run, const char* state) {
    std::vector<float> values(static_cast<size_t>(run.count));
    EXPECT_TRUE(optimizer.CopyState(run, state, absl::MakeSpan(values)).ok());
    return values;
  };
  optimizer.ForEachOwned([&](const OwnedRun& run) {
    if (run.count < 3) return;
    const OwnedRun inside = {.parameter = run.parameter,
                             .begin = run.begin + 1,
                             .count = run.count - 2};
    for (const OptimizerState& kind : kOptimizerStates) {
      std::vector<float> whole = copy(run, kind.name);
      EXPECT_EQ(copy(inside, kind.name),
                std::vector<float>(whole.begin() + 1, whole.end() - 1));
      std::fill(whole.begin() + 1, whole.end() - 1, 0.5f);
      const std::vector<float> halves(whole.size() - 2, 0.5f);
      EXPECT_TRUE(optimizer.SetState(inside, kind.name, halves).ok());
      EXPECT_EQ(copy(run, kind.name), whole) << run.parameter.name;
    }
  });
}

// The samples of this epoch end in the middle of a batch, and of a rank's.
TEST(Trainer, ValidationLossIsTheMeanOverAllTargets) {
  TrainConfig config = SmallConfig();
  config.mutable_router()->set_aux_loss_scope(RouterConfig::MICRO_BATCH);
  TestTrainer ours(config, /*alone=*/false);
  TestTrainer alone(config, /*alone=*/true);
  const absl::StatusOr<double> all = ours->ValidationLoss(0);
  const absl::StatusOr<double> expected = alone->ValidationLoss(0);
  ASSERT_TRUE(all.ok() && expected.ok());
  EXPECT_NEAR(*all / *expected, 1, 1e-6);
  // One batch is what a training step over the same sequences starts with.
  const absl::StatusOr<double> one = ours->ValidationLoss(1);
  const absl::StatusOr<StepReport> step = ours->TrainStep();
  ASSERT_TRUE(one.ok() && step.ok());
  EXPECT_NEAR(*one / step->losses.cross_entropy, 1, 1e-6);
  EXPECT_GT(std::abs(*one - *all), 1e-6) << "one batch is not all of them";
}

// Fails from one position on, as a damaged file would.
class FailingSamples : public RandomSamples {
 public:
  using RandomSamples::RandomSamples;
  absl::Status Read(int64_t position, absl::Span<int32_t> inputs,
                    absl::Span<int32_t> targets,
                    absl::Span<int32_t> positions) const override {
    if (position >= 19) return absl::DataLossError("sample 19 is damaged");
    return RandomSamples::Read(position, inputs, targets, positions);
  }
};

void ExpectAllRanksToldOfSample19(TestTrainer& trainer) {
  ASSERT_TRUE(trainer->TrainStep().ok());
  const absl::Status status = trainer->TrainStep().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("sample 19 is damaged"));
  EXPECT_TRUE(IsAgreed(status));
}

TEST(Trainer, DataThatFailOnOneRankStopAllRanks) {
  const TrainConfig config = SmallConfig();
  const FailingSamples samples(config.model().vocab_size(),
                               config.batch().sequence_length());
  TestTrainer trainer(config, /*alone=*/false, &samples);
  ExpectAllRanksToldOfSample19(trainer);
}

// The other rank of the tensor group can read the same samples.
TEST(Trainer, DataThatFailOnOneRankOfATensorGroupStopAllRanks) {
  if (TestRuntime().world() % 2 != 0) GTEST_SKIP() << "needs pairs of ranks";
  TrainConfig config = SmallConfig();
  config.mutable_parallel()->set_tensor(2);
  config.mutable_batch()->set_sequence_length(8);  // shared by the two
  const FailingSamples samples(config.model().vocab_size(),
                               config.batch().sequence_length());
  const bool fails = TestRuntime().rank() % 2 == 1;
  TestTrainer trainer(config, /*alone=*/false, fails ? &samples : nullptr);
  ExpectAllRanksToldOfSample19(trainer);
}

}  // namespace
}  // namespace moe
