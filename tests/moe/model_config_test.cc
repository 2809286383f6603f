#include "moe/model_config.h"

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/moe/network_cases.h"

namespace moe {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

void ExpectRefused(const absl::Status& status, const std::string& key,
                   const std::string& value, const std::string& limit) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr(key), HasSubstr(value), HasSubstr(limit)));
}

TEST(ValidateModel, DefaultsAndMixtralPass) {
  EXPECT_TRUE(ValidateModel(ModelConfig()).ok());
  EXPECT_TRUE(ValidateModel(Mixtral8x7B()).ok());
}

TEST(ValidateModel, ABadValueIsNamedWithItsLimit) {
  struct BadValue {
    std::function<void(ModelConfig&)> set;
    std::string key;
    std::string value;
    std::string limit;
  };
  const std::vector<BadValue> kBadValues = {
      {[](auto& m) { m.set_vocab_size(1); }, "model.vocab_size", " 1,", "2"},
      {[](auto& m) { m.set_hidden_size(0); }, "model.hidden_size", " 0,", "1"},
      {[](auto& m) { m.set_hidden_size(1 << 21); }, "model.hidden_size",
       "2097152", "1048576"},
      {[](auto& m) { m.set_intermediate_size(-3); }, "model.intermediate_size",
       "-3", "1"},
      {[](auto& m) { m.set_num_hidden_layers(0); }, "model.num_hidden_layers",
       " 0,", "1"},
      {[](auto& m) { m.set_num_attention_heads(0); },
       "model.num_attention_heads", " 0,", "1"},
      {[](auto& m) { m.set_num_key_value_heads(9); },
       "model.num_key_value_heads", " 9,", "8"},
      {[](auto& m) { m.set_num_key_value_heads(3); },
       "model.num_attention_heads", " 8,", "num_key_value_heads (3)"},
      {[](auto& m) { m.set_hidden_size(250); }, "model.hidden_size", "250",
       "model.num_attention_heads (8)"},
      {[](auto& m) { m.set_head_dim(7); }, "model.head_dim", " 7,", "even"},
      {[](auto& m) { m.set_head_dim(-2); }, "model.head_dim", "-2", "0"},
      {[](auto& m) { m.set_num_local_experts(0); }, "model.num_local_experts",
       " 0,", "1"},
      {[](auto& m) { m.set_num_experts_per_tok(9); },
       "model.num_experts_per_tok", " 9,", "8"},
      {[](auto& m) { m.set_num_experts_per_tok(0); },
       "model.num_experts_per_tok", " 0,", "1"},
      {[](auto& m) { m.set_rope_theta(0); }, "model.rope_theta", " 0,", "0"},
      {[](auto& m) { m.set_rope_theta(kInfinity); }, "model.rope_theta", "inf",
       "0"},
      {[](auto& m) { m.set_rms_norm_eps(kNan); }, "model.rms_norm_eps", "nan",
       "0"},
      {[](auto& m) { m.set_initializer_range(-1); }, "model.initializer_range",
       "-1", "0"},
      {[](auto& m) { m.set_max_position_embeddings(-1); },
       "model.max_position_embeddings", "-1", "0"},
  };
  for (const BadValue& bad : kBadValues) {
    SCOPED_TRACE(bad.key + " " + bad.value);
    ModelConfig model;
    bad.set(model);
    ExpectRefused(ValidateModel(model), bad.key, bad.value, bad.limit);
  }
}

TEST(ValidateRouter, EveryTestedCombinationPasses) {
  for (const NetworkCase& c : AllNetworkCases()) {
    EXPECT_TRUE(ValidateRouter(SmallRouter(c)).ok()) << NameOf(c);
    EXPECT_TRUE(ValidateModel(SmallModel(c)).ok()) << NameOf(c);
  }
}

TEST(ValidateRouter, WhatNoTestCoversIsRefused) {
  RouterConfig router;
  router.set_aux_loss_semantics(RouterConfig::HF_MIXTRAL);
  ExpectRefused(ValidateRouter(router), "router.aux_loss_semantics",
                "HF_MIXTRAL", "router.aux_loss_scope=MICRO_BATCH");
}

TEST(ValidateRouter, ANegativeOrUndefinedCoefficientIsRefused) {
  RouterConfig router;
  router.set_aux_loss_coefficient(-0.5);
  ExpectRefused(ValidateRouter(router), "router.aux_loss_coefficient", "-0.5",
                "at least 0");
  router = RouterConfig();
  router.set_z_loss_coefficient(kNan);
  ExpectRefused(ValidateRouter(router), "router.z_loss_coefficient", "nan",
                "at least 0");
  router = RouterConfig();
  router.set_capacity_factor(-1);
  ExpectRefused(ValidateRouter(router), "router.capacity_factor", "-1",
                "at least 0");
  router.set_capacity_factor(HUGE_VAL);
  ExpectRefused(ValidateRouter(router), "router.capacity_factor", "inf",
                "at least 0");
}

int64_t CapacityOf(double factor, int top_k, int experts, int64_t length) {
  ModelConfig model;
  model.set_num_local_experts(experts);
  model.set_num_experts_per_tok(top_k);
  RouterConfig router;
  router.set_capacity_factor(factor);
  return ExpertCapacity(model, router, length);
}

TEST(ExpertCapacity, IsTheCeilingOfTheFactorTimesAnEvenShare) {
  EXPECT_EQ(CapacityOf(1, 2, 8, 512), 128);
  EXPECT_EQ(CapacityOf(1, 2, 8, 513), 129);
  EXPECT_EQ(CapacityOf(1.25, 2, 8, 512), 160);
  EXPECT_EQ(CapacityOf(1.25, 2, 7, 9), 4);  // 3.2
  EXPECT_EQ(CapacityOf(0.5, 1, 64, 7), 1);
  EXPECT_EQ(CapacityOf(1e-300, 1, 64, 7), 1);
}

TEST(ExpertCapacity, AWholeNumberIsNotRoundedUp) {
  // 1.1 * 2 * 40 / 8 is 11.000000000000002 in double.
  EXPECT_EQ(CapacityOf(1.1, 2, 8, 40), 11);
  for (int experts : {3, 5, 7, 11, 49, 60}) {
    for (int64_t share = 1; share < 300; ++share)
      ASSERT_EQ(CapacityOf(1, 1, experts, share * experts), share) << experts;
    for (int64_t hundreds = 1; hundreds < 30; ++hundreds)
      for (int percent : {101, 107, 110, 123, 149})
        ASSERT_EQ(
            CapacityOf(percent / 100.0, 1, experts, 100 * hundreds * experts),
            percent * hundreds >= 100 * hundreds * experts
                ? 100 * hundreds * experts
                : percent * hundreds)
            << experts << " experts, " << percent << " %";
  }
}

TEST(ExpertCapacity, IsNeverMoreThanTheSequence) {
  EXPECT_EQ(CapacityOf(8, 1, 8, 33), 33);
  EXPECT_EQ(CapacityOf(9, 1, 8, 33), 33);
  EXPECT_EQ(CapacityOf(1e300, 1, 8, 33), 33);
  EXPECT_EQ(CapacityOf(0, 2, 8, 33), 33);  // dropless
}

TEST(CountParameters, AreMixtrals) {
  const ParameterCounts counts = CountParameters(Mixtral8x7B());
  EXPECT_EQ(counts.total, 46'702'792'704);
  EXPECT_EQ(counts.active, 12'879'925'248);
}

TEST(ModelFlopsPerToken, CountsTheHeadButNotTheLookUp) {
  ModelConfig model = Mixtral8x7B();
  const double look_up = 32000.0 * 4096;
  const double attention = 6.0 * 32 * 4096 * 1024;
  EXPECT_EQ(ModelFlopsPerToken(model, 1024),
            6 * (12'879'925'248 - look_up) + attention);
  // A tied head is one matrix less to keep, but the same work.
  model.set_tie_word_embeddings(true);
  EXPECT_EQ(ModelFlopsPerToken(model, 1024),
            6 * (12'879'925'248 - look_up) + attention);
}

TEST(HeadDim, IsTheGivenOneOrTheWidthsShare) {
  ModelConfig model = Mixtral8x7B();
  EXPECT_EQ(HeadDim(model), 128);
  model.set_head_dim(96);
  EXPECT_EQ(HeadDim(model), 96);
  EXPECT_EQ(MakeAttentionShape(model, 1).head_dim, 96);
}

}  // namespace
}  // namespace moe
