#include "trainer/config/config_give_way.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "trainer/config/config_check.h"
#include "trainer/config/config_override.h"
#include "trainer/config/config_text.h"

namespace moe {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

constexpr char kPreset[] = R"(
  model { hidden_size: 64 num_attention_heads: 8 num_key_value_heads: 4
          num_local_experts: 8 num_experts_per_tok: 2
          max_position_embeddings: 512 vocab_size: 1000 }
  batch { global_size: 32 micro_size: 4 sequence_length: 256 }
  schedule { steps: 1000 warmup_steps: 100 min_learning_rate: 6e-5 }
  optimizer { learning_rate: 6e-4 })";

struct Case {
  TrainConfig config;
  std::vector<std::string> notes;
  absl::Status valid;
};

TrainConfig Typed(const std::vector<std::string>& words) {
  TrainConfig typed;
  EXPECT_TRUE(ApplyOverrides(typed, words).ok());
  return typed;
}

Case Resolve(const ConfigLayers& layers, const OutsideBounds& bounds = {}) {
  Case done{.config = layers.Merged(), .notes = {}, .valid = {}};
  done.notes = GiveWay(layers, bounds, done.config);
  done.valid = ValidateConfig(done.config, /*world=*/1);
  return done;
}

// The preset, and these words over it.
Case Over(const std::vector<std::string>& words,
          const OutsideBounds& bounds = {}) {
  return Resolve(
      {.preset = *ParseConfig(kPreset, "preset"), .typed = Typed(words)},
      bounds);
}

// Each pair of keys that bound each other: the one that was typed holds, the
// other gives way, and what comes of it is valid.
TEST(GiveWay, TheKeyThatWasNotTypedGivesWay) {
  const struct {
    std::vector<std::string> words;
    const char* note;
  } cases[] = {
      {{"schedule.tokens=1000000"},
       "schedule.steps is 0, not the preset's 1000"},
      {{"schedule.steps=30"},
       "schedule.warmup_steps is 3, not the preset's 100"},
      {{"schedule.warmup_steps=2000"},
       "schedule.steps is 2000, not the preset's 1000"},
      {{"schedule.decay=WSD"},
       "schedule.cooldown_steps is 100, not the default 0"},
      {{"schedule.cooldown_steps=50"},
       "schedule.decay is WSD, not the default COSINE"},
      {{"schedule.decay=WSD", "schedule.cooldown_steps=950"},
       "schedule.warmup_steps is 50, not the preset's 100"},
      {{"schedule.decay=WSD", "schedule.warmup_steps=950"},
       "schedule.cooldown_steps is 50, not the default 0: schedule.decay is "
       "WSD and the run has 1000 steps and schedule.warmup_steps is 950"},
      {{"schedule.decay=WSD", "schedule.warmup_steps=1000"},
       "schedule.steps is 1100, not the preset's 1000"},
      {{"schedule.cooldown_steps=2000"},
       "schedule.steps is 2100, not the preset's 1000: schedule.warmup_steps "
       "is 100 and schedule.cooldown_steps is 2000"},
      {{"optimizer.learning_rate=3e-5"}, "schedule.min_learning_rate is 3"},
      {{"schedule.min_learning_rate=1e-3"},
       "optimizer.learning_rate is 0.001, not the preset's 0.0006"},
      {{"log.trace_steps=1500:1501"},
       "schedule.steps is 1500, not the preset's 1000"},
      {{"batch.global_size=1"}, "batch.micro_size is 1, not the preset's 4"},
      {{"batch.micro_size=40"}, "batch.global_size is 40, not the preset's 32"},
      {{"batch.sequence_length=1024"},
       "model.max_position_embeddings is 1024, not the preset's 512"},
      {{"model.max_position_embeddings=128"},
       "batch.sequence_length is 128, not the preset's 256"},
      {{"model.num_local_experts=1"},
       "model.num_experts_per_tok is 1, not the preset's 2"},
      {{"model.num_experts_per_tok=9"},
       "model.num_local_experts is 9, not the preset's 8"},
      {{"model.num_attention_heads=2"},
       "model.num_key_value_heads is 2, not the preset's 4"},
      {{"model.num_key_value_heads=16"},
       "model.num_attention_heads is 16, not the preset's 8"},
      {{"model.num_key_value_heads=3"},
       "model.num_attention_heads is 9, not the preset's 8: "
       "model.num_key_value_heads is 3"},
      {{"model.num_key_value_heads=3"},
       "model.hidden_size is 72, not the preset's 64: "
       "model.num_attention_heads is 9"},
      {{"model.hidden_size=100"},
       "model.num_attention_heads is 10, not the preset's 8"},
      {{"model.num_attention_heads=12"},
       "model.hidden_size is 72, not the preset's 64"},
      {{"run.expert_chunk_rows=8"},
       "run.recompute is EXPERTS, not the default NONE"},
      {{"router.aux_loss_semantics=HF_MIXTRAL"},
       "router.aux_loss_scope is MICRO_BATCH, not the default SEQUENCE"},
  };
  for (const auto& [words, note] : cases) {
    const Case done = Over(words);
    EXPECT_TRUE(done.valid.ok()) << words[0] << ": " << done.valid;
    EXPECT_THAT(done.notes, testing::Contains(StartsWith(note))) << words[0];
    // What was typed stands.
    TrainConfig again = done.config;
    Overlay(Typed(words), again);
    EXPECT_EQ(PrintConfig(again), PrintConfig(done.config)) << words[0];
  }
}

TEST(GiveWay, TwoTypedValuesThatContradictStay) {
  const std::vector<std::string> cases[] = {
      {"schedule.tokens=1000000", "schedule.steps=100"},
      {"schedule.steps=30", "schedule.warmup_steps=31"},
      {"schedule.decay=WSD", "schedule.cooldown_steps=0"},
      {"schedule.decay=LINEAR", "schedule.cooldown_steps=5"},
      {"optimizer.learning_rate=1e-5", "schedule.min_learning_rate=1e-4"},
      {"log.trace_steps=50:60", "schedule.steps=40"},
      {"batch.global_size=1", "batch.micro_size=2"},
      {"batch.sequence_length=64", "model.max_position_embeddings=32"},
      {"model.num_local_experts=1", "model.num_experts_per_tok=2"},
      {"model.num_attention_heads=4", "model.num_key_value_heads=3"},
      {"model.hidden_size=100", "model.num_attention_heads=8"},
      {"model.hidden_size=64", "model.num_key_value_heads=3"},
      {"run.expert_chunk_rows=8", "run.recompute=BLOCK"},
      {"router.aux_loss_semantics=HF_MIXTRAL",
       "router.aux_loss_scope=SEQUENCE"},
  };
  for (const std::vector<std::string>& words : cases) {
    const Case done = Over(words);
    EXPECT_TRUE(absl::IsInvalidArgument(done.valid)) << words[0];
    TrainConfig again = done.config;
    Overlay(Typed(words), again);
    EXPECT_EQ(PrintConfig(again), PrintConfig(done.config)) << words[0];
  }
}

TEST(GiveWay, NothingIsSaidWhereNothingContradicts) {
  EXPECT_THAT(Over({}).notes, IsEmpty());
  EXPECT_THAT(Over({"schedule.steps=100"}).notes, IsEmpty());
  EXPECT_THAT(Over({"model.vocab_size=8"}, {.tokenizer_pieces = 9}).notes,
              IsEmpty());
  EXPECT_THAT(Over({}, {.tokenizer_pieces = 1000}).notes, IsEmpty());
  EXPECT_THAT(Over({}, {.sliding_window = 256}).notes, IsEmpty());
}

// Several typed keys in a chain: each key is told of once, as it is in the end.
TEST(GiveWay, NotesSayWhatTheConfigurationIsInTheEnd) {
  const Case done =
      Over({"schedule.cooldown_steps=2000", "log.trace_steps=1500:1501",
            "schedule.min_learning_rate=1"});
  EXPECT_TRUE(done.valid.ok()) << done.valid;
  EXPECT_THAT(
      done.notes,
      ElementsAre(
          "schedule.steps is 2100, not the preset's 1000: "
          "log.trace_steps is \"1500:1501\" and schedule.warmup_steps is "
          "100 and schedule.cooldown_steps is 2000",
          "schedule.decay is WSD, not the default COSINE: "
          "schedule.cooldown_steps is 2000",
          "optimizer.learning_rate is 1, not the preset's 0.0006: "
          "schedule.min_learning_rate is 1"));
  EXPECT_EQ(done.config.schedule().warmup_steps(), 100);
}

TEST(GiveWay, ASequenceFitsTheWindowOfTheCheckpoint) {
  const Case done = Over({}, {.sliding_window = 16});
  EXPECT_THAT(done.notes,
              ElementsAre("batch.sequence_length is 16, not the preset's 256: "
                          "the checkpoint's sliding_window is 16"));
  // Of the two the smaller counts.
  EXPECT_THAT(
      Over({"model.max_position_embeddings=8"}, {.sliding_window = 16}).notes,
      ElementsAre(StartsWith("batch.sequence_length is 8, ")));
  // Whoever types it is refused when the checkpoint is opened.
  EXPECT_THAT(Over({"batch.sequence_length=64"}, {.sliding_window = 16}).notes,
              IsEmpty());
}

TEST(GiveWay, TheVocabularyHasRoomForTheTokenizer) {
  EXPECT_THAT(Over({}, {.tokenizer_pieces = 1001}).notes,
              ElementsAre("model.vocab_size is 1001, not the preset's 1000: "
                          "data.tokenizer has 1001 pieces"));
}

// A checkpoint's words stand as typed ones do.
TEST(GiveWay, APresetGivesWayToACheckpoint) {
  ConfigLayers layers{.preset = *ParseConfig(kPreset, "preset")};
  layers.checkpoint.mutable_model()->set_max_position_embeddings(128);
  const Case done = Resolve(layers);
  EXPECT_THAT(done.notes,
              ElementsAre(HasSubstr("batch.sequence_length is 128")));
  EXPECT_EQ(done.config.model().max_position_embeddings(), 128);
  layers.typed = Typed({"batch.sequence_length=256"});
  EXPECT_THAT(Resolve(layers).notes, IsEmpty());
  EXPECT_TRUE(absl::IsInvalidArgument(Resolve(layers).valid));
}

// Values that ValidateConfig refuses end nothing.
TEST(GiveWay, AnyValuesMayStand) {
  const std::string numbers[] = {"-1", "0",          "1",
                                 "3",  "2147483647", "-2147483648"};
  const std::string keys[] = {
      "model.hidden_size",         "model.num_attention_heads",
      "model.num_key_value_heads", "model.head_dim",
      "model.num_local_experts",   "model.num_experts_per_tok",
      "batch.global_size",         "batch.micro_size",
      "batch.sequence_length",     "schedule.steps",
      "schedule.tokens",           "schedule.warmup_steps",
      "schedule.cooldown_steps",   "model.max_position_embeddings",
      "run.expert_chunk_rows"};
  for (const std::string& key : keys) {
    for (const std::string& other : keys) {
      for (const std::string& a : numbers) {
        for (const std::string& b : numbers)
          Over({key + "=" + a, other + "=" + b});
      }
    }
  }
  Over({"schedule.steps=9223372036854775807", "schedule.decay=WSD"});
  Over({"schedule.warmup_steps=9223372036854775807"});
  Over({"schedule.cooldown_steps=9223372036854775807"});
  Over({"schedule.steps=0", "schedule.tokens=9223372036854775807"});
}

TEST(ConfigLayers, ALaterLayerWinsAndABlendIsReplacedWhole) {
  ConfigLayers layers;
  layers.preset = *ParseConfig(
      "data { train { source { path: 'a' } } } run { seed: 3 }", "a");
  layers.typed = Typed({"data.train=b", "run.threads=2"});
  const TrainConfig merged = layers.Merged();
  ASSERT_EQ(merged.data().train().source_size(), 1);
  EXPECT_EQ(merged.data().train().source(0).path(), "b");
  EXPECT_EQ(merged.run().seed(), 3u);
  EXPECT_EQ(merged.run().threads(), 2);
  layers.typed = Typed({"data.train="});
  EXPECT_EQ(layers.Merged().data().train().source_size(), 0);
}

}  // namespace
}  // namespace moe
