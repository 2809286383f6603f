// What is planted is named: the tensor, its layer and expert, and the rank.

#include "trainer/step/non_finite.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "comm/mpi/roster.h"
#include "tests/mpi_test.h"
#include "tests/test_device.h"
#include "tests/trainer/planted_weights.h"
#include "tests/trainer/trainer_fixture.h"
#include "trainer/step/non_finite_search.h"

namespace moe {
namespace {

using testing::AnyOf;
using testing::HasSubstr;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Layout {
  const char* name;
  int world;  // the case runs in a world of this size only
  int tensor;
  int expert;
  int micro_size = 3;
  RunConfig::ComputeDType dtype = RunConfig::FLOAT32;
  RunConfig::Recompute recompute = RunConfig::NONE;
};

class NonFiniteTest : public testing::TestWithParam<Layout> {
 protected:
  void SetUp() override {
    if (GetParam().world != TestRuntime().world())
      GTEST_SKIP() << "another world's";
  }

  static TrainConfig Config() {
    TrainConfig config = SmallConfig();
    config.mutable_model()->set_num_key_value_heads(4);
    config.mutable_batch()->set_sequence_length(12);
    config.mutable_batch()->set_micro_size(GetParam().micro_size);
    config.mutable_run()->set_compute_dtype(GetParam().dtype);
    config.mutable_run()->set_recompute(GetParam().recompute);
    config.mutable_parallel()->set_tensor(GetParam().tensor);
    config.mutable_parallel()->set_expert(GetParam().expert);
    return config;
  }

  // What a step that fails says, the same on all ranks.
  static NonFinite Fail(TestTrainer& trainer) {
    const absl::Status status = trainer->TrainStep().status();
    EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange) << status;
    EXPECT_TRUE(IsAgreed(status));
    EXPECT_EQ(trainer->step(), 0);
    EXPECT_TRUE(trainer->non_finite().has_value());
    const NonFinite what = trainer->non_finite().value_or(NonFinite());
    EXPECT_EQ(status.message(), Describe(what));
    EXPECT_EQ(what.step, 1);
    return what;
  }
};

// A parameter, and what shows first that it holds an infinity. E is an expert.
struct Planting {
  const char* parameter;
  const char* tensor;
  int layer;
  bool everywhere = false;  // in all that the rank has of it
};

constexpr Planting kPlantings[] = {
    {"model.embed_tokens.weight", "embedding", -1, true},
    {"model.layers.0.input_layernorm.weight", "normed input of attention", 0},
    {"model.layers.1.self_attn.q_proj.weight", "queries, keys and values", 1},
    {"model.layers.0.self_attn.v_proj.weight", "queries, keys and values", 0},
    {"model.layers.1.self_attn.o_proj.weight", "attention output", 1},
    {"model.layers.0.post_attention_layernorm.weight",
     "normed input of router and experts", 0},
    {"model.layers.1.block_sparse_moe.gate.weight", "router logits", 1},
    {"model.layers.0.block_sparse_moe.experts.E.w1.weight",
     "gate and up projection", 0},
    {"model.layers.1.block_sparse_moe.experts.E.w3.weight",
     "gate and up projection", 1},
    {"model.layers.1.block_sparse_moe.experts.E.w2.weight", "output", 1},
    {"model.norm.weight", "final norm", -1},
    {"lm_head.weight", "logits", -1}};

void ExpectNamed(TestTrainer& trainer, const NonFinite& what,
                 const Planting& planting, const std::string& name, int expert,
                 int rank) {
  EXPECT_TRUE(what.in_loss);
  ASSERT_TRUE(what.first.has_value());
  EXPECT_EQ(what.first->tensor, planting.tensor);
  EXPECT_EQ(what.first->parameter, "");
  EXPECT_EQ(what.first->layer, planting.layer);
  EXPECT_EQ(what.first->expert, expert);
  EXPECT_EQ(what.first->rank, rank);
  EXPECT_EQ(what.first->host, ThisMember().host);
  EXPECT_THAT(what.first->value, AnyOf("inf", "-inf", "nan"));
  EXPECT_FALSE(what.gradient.has_value());
  ASSERT_TRUE(what.weights.has_value());
  EXPECT_EQ(what.weights->parameter, name);
  EXPECT_EQ(what.weights->expert, expert);
  EXPECT_EQ(what.weights->rank, rank);
  EXPECT_EQ(what.weights->value, "inf");
  EXPECT_EQ(trainer->step(), 0);
}

TEST_P(NonFiniteTest, AnInfinityInOneRanksWeightsIsNamedWithThatRank) {
  const TrainConfig config = Config();
  const int world = TestRuntime().world();
  int turn = 0;
  for (const Planting& planting : kPlantings) {
    // By turns the last two: what they plant spoils lower ranks' tensors too.
    const int rank = std::max(0, world - 1 - turn++ % 2);
    TestTrainer trainer(config, /*alone=*/false);
    int expert = -1;  // the rank's last
    if (absl::StrContains(planting.parameter, ".E.")) {
      expert = (trainer.mesh().Index(Axis::kExpert, rank) + 1) *
                   trainer->table().local_experts() -
               1;
    }
    const std::string name = absl::StrReplaceAll(
        planting.parameter, {{".E.", absl::StrCat(".", expert, ".")}});
    SCOPED_TRACE(absl::StrCat(name, " on rank ", rank));
    if (trainer.world().rank() == rank) {
      const Parameter& parameter = *FindLocal(*trainer, name);
      const int64_t count = planting.everywhere ? parameter.slice.size() : 1;
      for (int64_t i = 0; i < count; ++i)
        Plant(*trainer, parameter, i, kInfinity);
    }
    ExpectNamed(trainer, Fail(trainer), planting, name, expert, rank);
  }
}

// The rank and the micro-step that have the token, whatever came of it on
// others.
TEST_P(NonFiniteTest, WhatOneTokenSetsOffIsNamedWhereTheTokenIs) {
  const TrainConfig config = Config();
  const int64_t L = config.batch().sequence_length();
  for (int64_t sequence : {0, 4, 7, 9}) {
    SCOPED_TRACE(absl::StrCat("sequence ", sequence));
    const int64_t place = sequence * 5 % L;
    const LitSamples samples(config, {sequence}, static_cast<size_t>(place));
    TestTrainer trainer(config, /*alone=*/false, &samples);
    SetWeights(*trainer, config, LightTrap);

    const int tensor = trainer.mesh().tensor();
    const BatchPlan plan(config.batch().global_size(), GetParam().micro_size,
                         trainer.mesh().data());
    int expected_rank = -1;
    int expected_micro_step = -1;
    for (int data = 0; data < trainer.mesh().data(); ++data) {
      for (int micro = 0; micro < plan.num_micro_steps(); ++micro) {
        const BatchPlan::Range range = plan.OfMicroStep(data, micro);
        if (sequence < range.begin || sequence >= range.begin + range.count)
          continue;
        const int64_t token = (sequence - range.begin) * L + place;
        expected_micro_step = micro;
        expected_rank =
            data * tensor + static_cast<int>(token * tensor / range.count / L);
      }
    }
    const NonFinite what = Fail(trainer);
    EXPECT_TRUE(what.in_loss);
    ASSERT_TRUE(what.first.has_value());
    EXPECT_EQ(what.first->tensor, "normed input of attention");
    EXPECT_EQ(what.first->layer, 1);
    EXPECT_EQ(what.first->rank, expected_rank);
    EXPECT_EQ(what.first->micro_step, expected_micro_step);
    EXPECT_FALSE(what.weights.has_value()) << "all weights are finite";
  }
}

// Expert 5's up projection is 0, so that its output is, whatever the others
// are: only the gradient of the up projection overflows. From there it spoils
// the gradients of gate and attention on every rank that has sent it a token.
TEST_P(NonFiniteTest, AnExpertsGradientThatOverflowsIsNamedWithItsRank) {
  constexpr int kExpert = 5;
  const TrainConfig config = Config();
  TestTrainer trainer(config, /*alone=*/false);
  const std::string prefix = "model.layers.1.block_sparse_moe.experts.5.";
  SetWeights(*trainer, config,
             [&](const Parameter& parameter, int64_t, int64_t, float value) {
               if (parameter.name == prefix + "w1.weight") return 1e6f * value;
               if (parameter.name == prefix + "w2.weight") return 1e36f;
               return parameter.name == prefix + "w3.weight" ? 0.0f : value;
             });
  const NonFinite what = Fail(trainer);
  EXPECT_FALSE(what.in_loss);
  ASSERT_TRUE(what.first.has_value() && what.gradient.has_value());
  for (const NonFiniteTensor& at : {*what.first, *what.gradient}) {
    EXPECT_EQ(at.tensor, "gradient");
    EXPECT_EQ(at.parameter, prefix + "w3.weight");
    EXPECT_EQ(at.layer, 1);
    EXPECT_EQ(at.expert, kExpert);
    EXPECT_EQ(trainer.mesh().Index(Axis::kExpert, at.rank),
              kExpert / trainer->table().local_experts());
  }
  EXPECT_FALSE(what.weights.has_value());
  EXPECT_THAT(
      Describe(what),
      HasSubstr(absl::StrCat("the gradient of step 1 is not finite: "
                             "the first such value, ",
                             what.first->value, ", is in the gradient of ",
                             prefix, "w3.weight on rank ", what.first->rank)));
}

// The head reads a dimension that is 0 everywhere, so that it makes no logit;
// its gradient is too large for the norm that it comes to.
TEST_P(NonFiniteTest, AGradientBetweenParametersIsNamedAndTheFirstOfThose) {
  const TrainConfig config = Config();
  TestTrainer trainer(config, /*alone=*/false);
  SetWeights(
      *trainer, config,
      [](const Parameter& parameter, int64_t row, int64_t column, float value) {
        if (parameter.name == "lm_head.weight" && column == kDarkDimension)
          return row % 2 == 0 ? 1e30f : 0.0f;
        if (parameter.name == "model.norm.weight" && row == kDarkDimension)
          return 1e30f;
        return Darken(parameter, row, column, value);
      });
  const NonFinite what = Fail(trainer);
  EXPECT_FALSE(what.in_loss);
  ASSERT_TRUE(what.first.has_value() && what.gradient.has_value());
  EXPECT_EQ(what.first->tensor, "gradient of the final norm's input");
  EXPECT_EQ(what.first->rank, 0);
  EXPECT_EQ(what.gradient->layer, 1);
  EXPECT_THAT(what.gradient->parameter, HasSubstr(".w2.weight"));
  EXPECT_THAT(Describe(what),
              HasSubstr(absl::StrCat("; among parameters, first in the "
                                     "gradient of ",
                                     what.gradient->parameter, " on rank ")));
}

// Of gradients that this rank owns the sum of; of all ranks.
double LargestGradient(TestTrainer& trainer) {
  double largest = 0;
  for (ArenaKind kind : kTrainedArenaKinds) {
    const ShardMap& map = trainer->shards()[Index(kind)];
    const auto gradients = HostValues<float>(trainer->gradients().arena(kind));
    for (int bucket = 0; bucket < map.num_buckets(); ++bucket) {
      const ShardMap::Range slice =
          map.Slice(bucket, trainer.groups()[ReductionAxis(kind)].rank());
      for (int64_t i = slice.begin; i < slice.begin + slice.count; ++i)
        largest = std::max(largest,
                           std::abs(double{gradients[static_cast<size_t>(i)]}));
    }
  }
  EXPECT_TRUE(
      trainer.world()
          .AllReduce(ViewOf(absl::MakeSpan(&largest, 1)), ReduceOp::kMax)
          .ok());
  return largest;
}

// The same sequence everywhere: each rank adds the same.
class OneSample : public RandomSamples {
 public:
  using RandomSamples::RandomSamples;
  absl::Status Read(int64_t, absl::Span<int32_t> inputs,
                    absl::Span<int32_t> targets,
                    absl::Span<int32_t> positions) const override {
    return RandomSamples::Read(0, inputs, targets, positions);
  }
};

// The final norm's weight in the dark dimension scales the gradient there and
// nothing else.
TEST_P(NonFiniteTest, ASumOverRanksThatOverflowsIsNamedByWhoKeepsIt) {
  if (TestRuntime().world() == GetParam().tensor) GTEST_SKIP() << "no sum";
  if (GetParam().dtype != RunConfig::FLOAT32) GTEST_SKIP() << "too coarse";
  TrainConfig config = Config();
  config.mutable_batch()->set_global_size(8);
  config.mutable_batch()->set_micro_size(0);
  const OneSample samples(config.model().vocab_size(),
                          config.batch().sequence_length());
  const auto with_scale = [&](TestTrainer& trainer, double scale) {
    SetWeights(
        *trainer, config,
        [scale](const Parameter& parameter, int64_t row, int64_t column,
                float value) {
          if (parameter.name == "lm_head.weight")
            return column == kDarkDimension ? 1e6f * value : value;
          if (parameter.name == "model.norm.weight" && row == kDarkDimension)
            return static_cast<float>(scale);
          // An expert sees the tokens of all ranks: it must add little.
          if (absl::StrContains(parameter.name, ".w3.")) value *= 1e-4f;
          return Darken(parameter, row, column, value);
        });
  };
  TestTrainer measured(config, /*alone=*/false, &samples);
  with_scale(measured, 1e20);
  ASSERT_TRUE(measured->TrainStep().ok());
  TestTrainer trainer(config, /*alone=*/false, &samples);
  with_scale(trainer, 1e20 * 4.5e38 / LargestGradient(measured));
  const NonFinite what = Fail(trainer);
  EXPECT_FALSE(what.in_loss);
  EXPECT_FALSE(what.first.has_value()) << Describe(what);
  ASSERT_TRUE(what.sum.has_value());
  EXPECT_THAT(what.sum->value, AnyOf("inf", "-inf"));
  EXPECT_THAT(Describe(what),
              HasSubstr(absl::StrCat(
                  "computed again, all that one rank adds to it is "
                  "finite, but the sum over ranks had ",
                  what.sum->value, " in the gradient of ", what.sum->parameter,
                  " on rank ", what.sum->rank)));
}

constexpr Layout kLayouts[] = {
    {"Alone", 1, 1, 1},
    {"AloneBFloat16", 1, 1, 1, 0, RunConfig::BFLOAT16},
    {"AloneExpertsAgain", 1, 1, 1, 3, RunConfig::FLOAT32, RunConfig::EXPERTS},
    {"Data2", 2, 1, 1, 2},
    {"Tensor2Expert2", 2, 2, 2},
    {"Tensor2Expert2BFloat16", 2, 2, 2, 2, RunConfig::BFLOAT16},
    {"Expert2", 2, 1, 2, 0},
    {"Expert2BlocksAgain", 2, 1, 2, 2, RunConfig::FLOAT32, RunConfig::BLOCK},
    {"Tensor2Expert4", 4, 2, 4},
    {"Tensor2Expert2", 4, 2, 2, 2},
    {"Expert4", 4, 1, 4, 2}};

INSTANTIATE_TEST_SUITE_P(Layouts, NonFiniteTest, testing::ValuesIn(kLayouts),
                         [](const auto& test) {
                           return absl::StrCat("World", test.param.world,
                                               test.param.name);
                         });

TEST(Describe, SaysAllThatIsKnown) {
  NonFinite what = {.step = 7, .in_loss = true};
  EXPECT_EQ(Describe(what),
            "the loss of step 7 is not finite: computed again, all that one "
            "rank adds to it is finite");
  what.first = {.tensor = "output",
                .layer = 3,
                .expert = 5,
                .value = "-inf",
                .rank = 2,
                .host = "node1",
                .micro_step = 1};
  what.weights = {.tensor = "weights",
                  .parameter = "model.norm.weight",
                  .value = "nan",
                  .rank = 1,
                  .host = "node0"};
  EXPECT_EQ(Describe(what),
            "the loss of step 7 is not finite: the first such value, -inf, is "
            "in the output of expert 5 in layer 3 on rank 2 (node1) in "
            "micro-step 2; model.norm.weight itself holds nan on rank 1 "
            "(node0)");
}

}  // namespace
}  // namespace moe
