#include "trainer/config/config_override.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <limits>

#include "absl/strings/str_cat.h"
#include "trainer/config/config_keys.h"
#include "trainer/config/config_text.h"

namespace moe {
namespace {

using ::testing::HasSubstr;

// The error of one word; empty if it was taken.
std::string ErrorOf(const std::string& word) {
  TrainConfig config;
  const absl::Status status = ApplyOverrides(config, {word});
  if (status.ok()) return "";
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << word;
  return std::string(status.message());
}

TEST(ConfigOverride, SetsEveryTypeOfValue) {
  TrainConfig config;
  ASSERT_TRUE(
      ApplyOverrides(
          config, {"model.hidden_size=64", "schedule.tokens=5000000000",
                   "run.seed=18446744073709551615",
                   "optimizer.learning_rate=3e-4", "router.renormalize=false",
                   "run.compute_dtype=bfloat16", "run.directory=runs/a=b"})
          .ok());
  EXPECT_EQ(config.model().hidden_size(), 64);
  EXPECT_EQ(config.schedule().tokens(), 5000000000);
  EXPECT_EQ(config.run().seed(), std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(config.optimizer().learning_rate(), 3e-4);
  EXPECT_FALSE(config.router().renormalize());
  EXPECT_EQ(config.run().compute_dtype(), RunConfig::BFLOAT16);
  EXPECT_EQ(config.run().directory(), "runs/a=b");
}

TEST(ConfigOverride, TheLastOneOfAKeyHolds) {
  TrainConfig config;
  ASSERT_TRUE(ApplyOverrides(config, {"schedule.steps=1", "schedule.steps=2",
                                      "data.train=a,b", "data.train=c"})
                  .ok());
  EXPECT_EQ(config.schedule().steps(), 2);
  ASSERT_EQ(config.data().train().source_size(), 1);
  EXPECT_EQ(config.data().train().source(0).path(), "c");
}

// A key of a type that Set does not know would be found here.
TEST(ConfigOverride, EveryKeyCanBeSetToItsDefault) {
  const TrainConfig defaults = WithDefaults(TrainConfig());
  const auto& reflection = *defaults.GetReflection();
  for (const std::string& key : ConfigKeys()) {
    const size_t dot = key.find('.');
    const auto* section =
        defaults.GetDescriptor()->FindFieldByName(key.substr(0, dot));
    const auto* field =
        section->message_type()->FindFieldByName(key.substr(dot + 1));
    const auto& message = reflection.GetMessage(defaults, section);
    std::string text;
    if (field->cpp_type() != field->CPPTYPE_MESSAGE)
      google::protobuf::TextFormat::PrintFieldValueToString(message, field, -1,
                                                            &text);
    if (field->cpp_type() == field->CPPTYPE_STRING)
      text = text.substr(1, text.size() - 2);  // without quotes
    TrainConfig config = defaults;
    EXPECT_TRUE(ApplyOverrides(config, {absl::StrCat(key, "=", text)}).ok())
        << key;
    EXPECT_EQ(PrintConfig(config), PrintConfig(defaults)) << key;
  }
}

TEST(ConfigOverride, AnUnknownKeyGetsTheNearestOne) {
  EXPECT_EQ(ErrorOf("model.hiden_size=1"),
            "there is no configuration key 'model.hiden_size'; did you mean "
            "'model.hidden_size'?");
  EXPECT_THAT(ErrorOf("hidden_size=1"), HasSubstr("'model.hidden_size'"));
  EXPECT_THAT(ErrorOf("modle.hidden_size=1"), HasSubstr("'model.hidden_size'"));
  EXPECT_THAT(ErrorOf("optimizer.steps=1"), HasSubstr("'schedule.steps'"));
  EXPECT_THAT(ErrorOf("data.train.source=1"), HasSubstr("'data.train'"));
  EXPECT_THAT(ErrorOf("lr=1e-3"), HasSubstr("'optimizer.learning_rate'"));
  EXPECT_EQ(ErrorOf("epochs=3"),
            "there is no configuration key 'epochs'; --print-config shows all");
}

TEST(ConfigOverride, AWordWithoutAValueIsRefused) {
  EXPECT_THAT(ErrorOf("schedule.steps"),
              HasSubstr("'schedule.steps' is not of the form"));
  EXPECT_THAT(ErrorOf("=3"), HasSubstr("is not of the form"));
  EXPECT_THAT(ErrorOf(""), HasSubstr("is not of the form"));
}

TEST(ConfigOverride, AWrongValueIsNamedWithWhatIsAccepted) {
  EXPECT_EQ(ErrorOf("schedule.steps=abc"),
            "schedule.steps is 'abc', must be an integer");
  EXPECT_EQ(ErrorOf("schedule.steps="),
            "schedule.steps is '', must be an integer");
  EXPECT_EQ(ErrorOf("schedule.steps=1e3"),
            "schedule.steps is '1e3', must be an integer");
  EXPECT_EQ(ErrorOf("schedule.steps= 3"),
            "schedule.steps is ' 3', must be an integer");
  EXPECT_EQ(ErrorOf("batch.global_size=2147483648"),
            "batch.global_size is '2147483648', must be from -2147483648 to "
            "2147483647");
  EXPECT_THAT(ErrorOf("schedule.steps=9223372036854775808"),
              HasSubstr("must be from -9223372036854775808 to"));
  EXPECT_EQ(ErrorOf("run.seed=-1"),
            "run.seed is '-1', must be from 0 to 18446744073709551615");
  EXPECT_EQ(ErrorOf("optimizer.beta1=x"),
            "optimizer.beta1 is 'x', must be a number");
  EXPECT_EQ(ErrorOf("optimizer.beta1=nan"),
            "optimizer.beta1 is 'nan', must be a finite number");
  EXPECT_EQ(ErrorOf("optimizer.beta1=1e999"),
            "optimizer.beta1 is '1e999', must be a finite number");
  EXPECT_EQ(ErrorOf("router.renormalize=1"),
            "router.renormalize is '1', must be true or false");
  EXPECT_EQ(ErrorOf("schedule.decay=STEP"),
            "schedule.decay is 'STEP', must be one of CONSTANT, LINEAR, "
            "COSINE, WSD");
}

TEST(ParseBlend, ReadsWeightsAndColons) {
  const auto blend = ParseBlend("data.train", "0.7:a,3:share:kjv.txt,share:b");
  ASSERT_TRUE(blend.ok());
  ASSERT_EQ(blend->source_size(), 3);
  EXPECT_EQ(blend->source(0).path(), "a");
  EXPECT_EQ(blend->source(0).weight(), 0.7);
  EXPECT_EQ(blend->source(1).path(), "share:kjv.txt");
  EXPECT_EQ(blend->source(1).weight(), 3);
  EXPECT_EQ(blend->source(2).path(), "share:b");
  EXPECT_EQ(blend->source(2).weight(), 1);
}

TEST(ParseBlend, TakesACommaBehindABackslashForAPartOfAName) {
  const auto blend = ParseBlend("data.train", R"(0.7:a\,b.txt,c\d,\,)");
  ASSERT_TRUE(blend.ok());
  ASSERT_EQ(blend->source_size(), 3);
  EXPECT_EQ(blend->source(0).path(), "a,b.txt");
  EXPECT_EQ(blend->source(0).weight(), 0.7);
  EXPECT_EQ(blend->source(1).path(), "c\\d");
  EXPECT_EQ(blend->source(2).path(), ",");
}

TEST(ParseBlend, RefusesWhatNamesNothing) {
  EXPECT_TRUE(ParseBlend("data.valid", "")->source().empty());
  EXPECT_FALSE(ParseBlend("data.train", "a,,b").ok());
  EXPECT_FALSE(ParseBlend("data.train", "0.5:").ok());
  EXPECT_EQ(ErrorOf("data.train=0:a"),
            "data.train has the weight 0 in '0:a', must be greater than 0");
  EXPECT_THAT(ErrorOf("data.train=-1:a"), HasSubstr("weight -1"));
  EXPECT_THAT(ErrorOf("data.train=inf:a"), HasSubstr("weight inf"));
}

}  // namespace
}  // namespace moe
