#include "trainer/config/config_text.h"

#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "trainer/config/config_keys.h"

namespace moe {
namespace {

using ::google::protobuf::util::MessageDifferencer;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string ErrorOf(absl::string_view text) {
  const absl::StatusOr<TrainConfig> config = ParseConfig(text, "run.textproto");
  EXPECT_FALSE(config.ok()) << text;
  if (config.ok()) return "";
  EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(config.status().message());
}

TEST(ConfigText, PrintsEveryKeyThatHasAValue) {
  const std::string text = PrintConfig(TrainConfig());
  for (const std::string& key : ConfigKeys()) {
    if (key == "data.train" || key == "data.valid") continue;  // empty
    EXPECT_THAT(text, HasSubstr("  " + key.substr(key.find('.') + 1) + ": "));
  }
}

TEST(ConfigText, PrintingIsTakenBackUnchanged) {
  const absl::StatusOr<TrainConfig> config = ParseConfig(
      R"(run { directory: "a \"quoted\" \\ name\n" seed: 18446744073709551615 }
         optimizer { learning_rate: 3.0000000000000001e-4 epsilon: 1e-12 }
         data {
           train { source { path: "a" } source { path: "b" weight: 0.1 } }
           valid { }
         })",
      "test");
  ASSERT_TRUE(config.ok()) << config.status();
  const std::string text = PrintConfig(*config);
  const absl::StatusOr<TrainConfig> again = ParseConfig(text, "printed");
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE(MessageDifferencer::Equals(*again, WithDefaults(*config)));
  EXPECT_EQ(PrintConfig(*again), text);
  EXPECT_EQ(again->data().train().source(0).weight(), 1);
}

TEST(ConfigText, AnEmptyTextIsAllDefaults) {
  const absl::StatusOr<TrainConfig> config = ParseConfig("", "empty");
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(PrintConfig(*config), PrintConfig(TrainConfig()));
}

TEST(ConfigText, AnErrorSaysWhere) {
  EXPECT_THAT(ErrorOf("run {\n  seed: 1\n  seed 2\n}"),
              StartsWith("run.textproto:3:8: "));
  EXPECT_THAT(ErrorOf("run {\n  seed: abc }"),
              StartsWith("run.textproto:2:9: "));
  EXPECT_THAT(ErrorOf("run {"), StartsWith("run.textproto:1:"));
  EXPECT_THAT(ErrorOf("model { hidden_size: 99999999999 }"),
              StartsWith("run.textproto:1:22: "));
}

TEST(ConfigText, AnUnknownFieldGetsTheNearestOne) {
  EXPECT_EQ(ErrorOf("model {\n  hiden_size: 3\n}"),
            "run.textproto:2:13: there is no field 'hiden_size' in "
            "ModelConfig; did you mean 'hidden_size'?");
  EXPECT_THAT(ErrorOf("modle { }"), HasSubstr("did you mean 'model'?"));
  EXPECT_THAT(ErrorOf("optimizer { lr: 1 }"),
              HasSubstr("did you mean 'learning_rate'?"));
  EXPECT_THAT(ErrorOf("optimizer { max_steps: 1 }"),
              HasSubstr("did you mean 'schedule.steps'?"));
  EXPECT_THAT(ErrorOf("lr: 1"),
              HasSubstr("did you mean 'optimizer.learning_rate'?"));
}

TEST(ConfigText, AStoredOneMayHaveUnknownKeysWhichAreNamed) {
  std::vector<std::string> unknown;
  const auto config = ParseStoredConfig(
      "run { seed: 7 color: 1 }\n"
      "data { train { source { path: \"a\" tint { b: 2 } } } }\n"
      "paint { color: 3 }",
      "stored", unknown);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->run().seed(), 7);
  EXPECT_THAT(unknown,
              ElementsAre("run.color", "data.train.source.tint", "paint"));
  EXPECT_FALSE(ParseStoredConfig("run { seed: x }", "stored", unknown).ok());
}

TEST(ConfigText, AnUnknownNameListsTheKnownOnes) {
  EXPECT_THAT(ErrorOf("run { compute_dtype: FLOAT16 }"),
              HasSubstr("compute_dtype is 'FLOAT16', must be one of FLOAT32, "
                        "BFLOAT16"));
}

}  // namespace
}  // namespace moe
