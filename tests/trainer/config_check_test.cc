#include "trainer/config/config_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "trainer/config/config_compare.h"
#include "trainer/config/config_override.h"
#include "trainer/config/config_resolve.h"
#include "trainer/config/config_text.h"
#include "trainer/config/layout.h"

namespace moe {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Defaults, 10 steps, and the given overrides.
TrainConfig Config(const std::vector<std::string>& overrides = {}) {
  TrainConfig config;
  config.mutable_schedule()->set_steps(10);
  EXPECT_TRUE(ApplyOverrides(config, overrides).ok());
  return config;
}

absl::Status Validate(const std::vector<std::string>& overrides,
                      int world = 1) {
  return ValidateConfig(Config(overrides), world);
}

TEST(ValidateConfig, AcceptsDefaultsOnAnyNumberOfRanks) {
  for (int world : {1, 2, 3, 7, 8, 16, 1024})
    EXPECT_TRUE(Validate({}, world).ok()) << Validate({}, world);
}

TEST(ValidateConfig, AcceptsDocumentsApart) {
  EXPECT_TRUE(Validate({"data.reset_attention=true"}).ok());
}

TEST(ValidateConfig, RefusesEveryValueOutsideItsRange) {
  struct Case {
    std::vector<std::string> overrides;
    std::string message;
  };
  const Case cases[] = {
      {{"run.directory="}, "run.directory is empty"},
      {{"run.threads=-1"}, "run.threads is -1, must be from 0 to 4096"},
      {{"batch.global_size=0"}, "batch.global_size is 0, must be from 1"},
      {{"batch.micro_size=-1"}, "batch.micro_size is -1, must be from 0"},
      {{"batch.micro_size=33"},
       "batch.micro_size is 33, must be from 0 to batch.global_size (32)"},
      {{"batch.sequence_length=0"}, "batch.sequence_length is 0"},
      {{"model.max_position_embeddings=128"},
       "batch.sequence_length is 256, must be at most "
       "model.max_position_embeddings (128)"},
      {{"schedule.steps=0"}, "must be one of them and the other 0"},
      {{"schedule.tokens=5"}, "schedule.steps is 10 and schedule.tokens is 5"},
      {{"schedule.steps=0", "schedule.tokens=4000000000000000000"},
       "schedule.tokens is 4000000000000000000, which takes "},
      {{"schedule.steps=-1"}, "schedule.steps is -1, must be from 0"},
      {{"schedule.warmup_steps=11"},
       "schedule.warmup_steps is 11, must be from 0 to schedule.steps (10)"},
      {{"schedule.warmup_steps=-1"}, "schedule.warmup_steps is -1"},
      {{"schedule.cooldown_steps=2"},
       "schedule.cooldown_steps is 2, must be 0 unless schedule.decay is WSD "
       "(it is COSINE)"},
      {{"schedule.decay=WSD"}, "schedule.cooldown_steps is 0, must be from 1"},
      {{"schedule.decay=WSD", "schedule.warmup_steps=4",
        "schedule.cooldown_steps=7"},
       "schedule.cooldown_steps is 7, must be from 1 to schedule.steps - "
       "schedule.warmup_steps (6)"},
      {{"schedule.min_learning_rate=1"},
       "schedule.min_learning_rate is 1, must be from 0 to "
       "optimizer.learning_rate (0.0003)"},
      {{"schedule.stop_after_seconds=-1"}, "schedule.stop_after_seconds is -1"},
      {{"optimizer.learning_rate=-1"}, "optimizer.learning_rate is -1"},
      {{"optimizer.beta1=1"},
       "optimizer.beta1 is 1, must be at least 0 and less than 1"},
      {{"optimizer.beta2=-0.1"}, "optimizer.beta2 is -0.1"},
      {{"optimizer.epsilon=0"}, "optimizer.epsilon is 0, must be from"},
      {{"optimizer.weight_decay=-1"}, "optimizer.weight_decay is -1"},
      {{"optimizer.clip_norm=-1"}, "optimizer.clip_norm is -1"},
      {{"optimizer.max_skipped_steps=-1"},
       "optimizer.max_skipped_steps is -1, must be from 0"},
      {{"parallel.expert=-1"}, "parallel.expert is -1"},
      {{"parallel.tensor=0"}, "parallel.tensor is 0, must be from 1"},
      {{"parallel.collective_timeout_seconds=0"},
       "parallel.collective_timeout_seconds is 0, must be from 1"},
      {{"parallel.bucket_elements=0"}, "parallel.bucket_elements is 0"},
      {{"data.valid_fraction=1"},
       "data.valid_fraction is 1, must be at least 0 and less than 1"},
      {{"eval.interval_steps=-1"}, "eval.interval_steps is -1"},
      {{"eval.batches=-1"}, "eval.batches is -1"},
      {{"checkpoint.keep=0"}, "checkpoint.keep is 0"},
      {{"log.interval_steps=0"}, "log.interval_steps is 0, must be from 1"},
      {{"log.trace_steps=11:12"},
       "log.trace_steps is '11:12', must begin at step 10 (the last of "
       "schedule.steps) or before"},
      {{"model.num_key_value_heads=3"}, "model.num_key_value_heads (3)"},
      {{"model.num_key_value_heads=9"},
       "model.num_key_value_heads is 9, must be from 1 to "
       "model.num_attention_heads (8)"},
      {{"model.num_experts_per_tok=9"},
       "model.num_experts_per_tok is 9, must be from 1 to "
       "model.num_local_experts (8)"},
      {{"router.aux_loss_coefficient=-1"}, "router.aux_loss_coefficient is -1"},
      {{"router.capacity_factor=-0.5"}, "router.capacity_factor is -0.5"},
      {{"checkpoint.interval_steps=-1"}, "checkpoint.interval_steps is -1"},
      {{"checkpoint.interval_seconds=-5"}, "checkpoint.interval_seconds is -5"},
  };
  for (const Case& c : cases) {
    const absl::Status status = Validate(c.overrides);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << c.message;
    EXPECT_THAT(std::string(status.message()), HasSubstr(c.message));
  }
}

TEST(ValidateConfig, RefusesWhatThisVersionDoesNotDo) {
  const std::pair<std::string, std::string> cases[] = {
      {"log.tensorboard=true", "log.tensorboard is true"},
      {"run.expert_chunk_rows=9", "which needs run.recompute=EXPERTS"},
      {"log.trace_steps=2:1", "log.trace_steps is '2:1', must be FIRST:LAST"},
      {"log.metrics_port=80", "log.metrics_port is 80"},
  };
  for (const auto& [word, message] : cases) {
    const absl::Status status = Validate({word});
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << word;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }
}

TEST(ValidateConfig, ADeviceThatWasNotBuiltIsUnimplemented) {
  const absl::Status status = Validate({"run.device=CUDA"});
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(status.message()), HasSubstr("not in this build"));
}

// A file can hold what the command line cannot.
TEST(ValidateConfig, RefusesNumbersThatAreNone) {
  TrainConfig config = Config();
  config.mutable_optimizer()->set_learning_rate(
      std::numeric_limits<double>::quiet_NaN());
  EXPECT_FALSE(ValidateConfig(config, 1).ok());
  config = Config();
  config.mutable_optimizer()->set_clip_norm(
      std::numeric_limits<double>::infinity());
  EXPECT_FALSE(ValidateConfig(config, 1).ok());
  config = Config();
  config.mutable_data()->mutable_train()->add_source()->set_path("a");
  EXPECT_TRUE(ValidateConfig(config, 1).ok());
  config.mutable_data()->mutable_train()->mutable_source(0)->set_weight(0);
  EXPECT_THAT(std::string(ValidateConfig(config, 1).message()),
              HasSubstr("the weight of a in data.train is 0"));
  config.mutable_data()->mutable_train()->add_source();
  config.mutable_data()->mutable_train()->mutable_source(0)->set_weight(1);
  EXPECT_THAT(std::string(ValidateConfig(config, 1).message()),
              HasSubstr("source 2 of data.train has no path"));
}

TEST(ValidateConfig, RowsAreCountedInThirtyTwoBits) {
  const std::vector<std::string> overrides = {"batch.global_size=65536",
                                              "batch.sequence_length=32768"};
  EXPECT_THAT(std::string(Validate(overrides).message()),
              HasSubstr("lower batch.micro_size"));
  std::vector<std::string> lower = overrides;
  lower.push_back("batch.micro_size=1");
  EXPECT_TRUE(Validate(lower).ok());
  // Top-2, 8 ranks that may all send to one: 2^31 rows, one too many.
  const std::vector<std::string> one_more = {
      "batch.global_size=65536", "batch.micro_size=4096",
      "batch.sequence_length=32768", "parallel.expert=8"};
  EXPECT_THAT(std::string(Validate(one_more, 8).message()),
              HasSubstr("is 2147483648, must be at most 2147483647"));
  std::vector<std::string> split = one_more;
  split.push_back("parallel.tensor=2");
  EXPECT_TRUE(Validate(split, 8).ok());
}

TEST(ValidateConfig, ALayoutThatDoesNotFitGetsTheNearestThatDoes) {
  EXPECT_THAT(std::string(Validate({"parallel.expert=4"}, 10).message()),
              HasSubstr("the nearest numbers of ranks are 8 and 12"));
  EXPECT_TRUE(Validate({"parallel.tensor=2"}, 4).ok());
  EXPECT_FALSE(Validate({}, 0).ok());
}

// What goes on may have made most of its steps with smaller batches.
TEST(CheckFitsFromBeginning, IsForRunsInTokensThatBeginAnew) {
  const std::pair<std::vector<std::string>, std::string> cases[] = {
      {{"schedule.warmup_steps=11"},
       "schedule.warmup_steps is 11, must be from 0 to the steps of "
       "schedule.tokens (10)"},
      {{"schedule.decay=WSD", "schedule.warmup_steps=4",
        "schedule.cooldown_steps=7"},
       "schedule.cooldown_steps is 7, must be from 1 to the steps of "
       "schedule.tokens - schedule.warmup_steps (6)"},
      {{"log.trace_steps=11:12"},
       "log.trace_steps is '11:12', must begin at step 10 (the last of the "
       "steps "
       "of schedule.tokens) or before"},
  };
  for (auto [overrides, message] : cases) {
    overrides.insert(overrides.begin(),
                     {"schedule.steps=0", "schedule.tokens=81920"});
    const TrainConfig config = Config(overrides);
    EXPECT_TRUE(ValidateConfig(config, 1).ok()) << ValidateConfig(config, 1);
    const absl::Status status = CheckFitsFromBeginning(config);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }
  EXPECT_TRUE(CheckFitsFromBeginning(Config()).ok());
}

// Checkpoints from before schedule.tokens was kept hold the steps it took.
TEST(CompareConfigs, TokensAreTheStepsThatTheyTookBefore) {
  const TrainConfig before = Config();  // 10 steps of 8192 tokens
  const auto differences = [&](const std::string& tokens) {
    return CompareConfigs(
        before,
        Config({"schedule.steps=0", "schedule.tokens=" + tokens,
                "batch.global_size=64"}),
        KnowData::kByName);
  };
  ASSERT_EQ(differences("81920").size(), 1u);
  EXPECT_EQ(differences("81920")[0].key, "batch.global_size");
  EXPECT_EQ(differences("73729").size(), 1u);
  EXPECT_EQ(differences("73728").size(), 3u);
  EXPECT_EQ(
      CompareConfigs(before, Config({"schedule.steps=11"}), KnowData::kByName)
          .size(),
      1u);
}

TEST(RequireTrainingData, NamesTheKey) {
  EXPECT_THAT(std::string(RequireTrainingData(Config()).message()),
              HasSubstr("data.train is empty"));
  EXPECT_TRUE(RequireTrainingData(Config({"data.train=a"})).ok());
}

TEST(ValidateConfig, AWeightTooSmallForItsBlendIsNamed) {
  EXPECT_TRUE(Validate({"data.train=1:a,65535:b"}).ok());
  EXPECT_EQ(std::string(Validate({"data.train=1:a,70000:b"}).message()),
            "the weight of a in data.train is 1, must be at least 1/65536 of "
            "the sum (70001)");
  EXPECT_TRUE(Validate({"data.train=a", "data.valid=1:a,70000:b"}).ok());
}

TEST(ConfigWarnings, NameAShareThatIsRounded) {
  EXPECT_THAT(ConfigWarnings(Config({"data.train=1:a,43690:b"}), 4), IsEmpty());
  EXPECT_THAT(ConfigWarnings(Config({"data.train=1.5:a,65536.123:b"}), 4),
              ElementsAre(HasSubstr("data.train: a gets 0.00")));
  EXPECT_THAT(ConfigWarnings(Config({"data.train=0.7123456:a,0.3:b"}), 4),
              IsEmpty());
}

TEST(ConfigWarnings, NameWhatIsProbablyNotWanted) {
  EXPECT_THAT(ConfigWarnings(Config(), 4), IsEmpty());
  EXPECT_THAT(ConfigWarnings(Config({"model.num_experts_per_tok=1"}), 4),
              ElementsAre(HasSubstr("router gets no gradient")));
  EXPECT_THAT(ConfigWarnings(Config({"model.num_experts_per_tok=1",
                                     "router.renormalize=false"}),
                             4),
              ElementsAre(HasSubstr("model_type")));
  EXPECT_THAT(ConfigWarnings(Config({"router.force_balance=true"}), 4),
              ElementsAre(HasSubstr("benchmarks only")));
  EXPECT_THAT(ConfigWarnings(Config(), 40),
              ElementsAre(HasSubstr("8 without any sequence")));
}

TEST(ResolveConfig, ChoosesWhatWasLeftOpen) {
  const auto resolved =
      ResolveConfig(Config({"schedule.steps=0", "schedule.tokens=8193"}), 6, 3);
  ASSERT_TRUE(resolved.ok());
  EXPECT_EQ(resolved->run().threads(), 3);
  EXPECT_EQ(resolved->model().head_dim(), 32);
  EXPECT_EQ(resolved->model().max_position_embeddings(), 256);
  EXPECT_EQ(resolved->batch().micro_size(), 6);  // 32 sequences, 6 ranks
  // A run in tokens stays one: its steps depend on where it goes on.
  EXPECT_EQ(resolved->schedule().steps(), 0);
  EXPECT_EQ(resolved->schedule().tokens(), 8193);
  EXPECT_EQ(StepsOf(*resolved), 2);             // of 8192 tokens
  EXPECT_EQ(resolved->parallel().expert(), 2);  // gcd(8, 6)
}

TEST(ResolveConfig, KeepsWhatWasGivenAndResolvesOnce) {
  const auto given =
      Config({"run.threads=7", "model.head_dim=8", "batch.micro_size=2",
              "model.max_position_embeddings=512", "parallel.expert=1"});
  const auto once = ResolveConfig(given, 4, 3);
  ASSERT_TRUE(once.ok());
  EXPECT_EQ(PrintConfig(*once), PrintConfig(given));
  const auto resolved = ResolveConfig(Config(), 4, 3);
  ASSERT_TRUE(resolved.ok());
  EXPECT_TRUE(ValidateConfig(*resolved, 4).ok());
  EXPECT_EQ(PrintConfig(*ResolveConfig(*resolved, 4, 3)),
            PrintConfig(*resolved));
}

}  // namespace
}  // namespace moe
