#include "launch/command/presets.h"

#include <gtest/gtest.h>

#include <string>

#include "moe/model_config.h"
#include "trainer/config/config_check.h"
#include "trainer/config/config_resolve.h"
#include "trainer/config/config_text.h"

namespace moe {
namespace {

TrainConfig Config(absl::string_view name) {
  return *ParseConfig(FindPreset(name)->text, std::string(name));
}

TEST(Presets, AllAreValidOnOneAndOnManyRanks) {
  ASSERT_EQ(Presets().size(), 4u);
  for (const Preset& preset : Presets()) {
    const auto config = ParseConfig(preset.text, preset.name);
    ASSERT_TRUE(config.ok()) << config.status();
    for (int world : {1, 2, 16, 24, 64})
      EXPECT_TRUE(ValidateConfig(*config, world).ok())
          << preset.name << ": " << ValidateConfig(*config, world);
    EXPECT_TRUE(ConfigWarnings(*config, 16).empty()) << preset.name;
    EXPECT_FALSE(preset.summary().empty());
    EXPECT_EQ(preset.summary().find('#'), absl::string_view::npos);
    EXPECT_EQ(config->run().directory(), "runs/" + std::string(preset.name));
  }
}

TEST(Presets, OnlyTheQuickStartBringsItsData) {
  for (const Preset& preset : Presets()) {
    EXPECT_EQ(RequireTrainingData(Config(preset.name)).ok(),
              preset.name == "quickstart");
  }
}

TEST(Presets, SummariesTellTheRightSize) {
  EXPECT_EQ(CountParameters(Config("e8").model()).total / 1000000, 61);
  EXPECT_EQ(CountParameters(Config("e64").model()).total / 1000000, 112);
}

// Every value of its published config.json.
TEST(Presets, Mixtral8x7bIsExact) {
  const ModelConfig model = Config("mixtral-8x7b").model();
  EXPECT_EQ(model.vocab_size(), 32000);
  EXPECT_EQ(model.hidden_size(), 4096);
  EXPECT_EQ(model.intermediate_size(), 14336);
  EXPECT_EQ(model.num_hidden_layers(), 32);
  EXPECT_EQ(model.num_attention_heads(), 32);
  EXPECT_EQ(model.num_key_value_heads(), 8);
  EXPECT_EQ(HeadDim(model), 128);
  EXPECT_EQ(model.num_local_experts(), 8);
  EXPECT_EQ(model.num_experts_per_tok(), 2);
  EXPECT_EQ(model.rope_theta(), 1e6);
  EXPECT_EQ(model.rms_norm_eps(), 1e-5);
  EXPECT_EQ(model.initializer_range(), 0.02);
  EXPECT_FALSE(model.tie_word_embeddings());
  EXPECT_EQ(model.max_position_embeddings(), 32768);
  const RouterConfig router = Config("mixtral-8x7b").router();
  EXPECT_EQ(router.aux_loss_semantics(), RouterConfig::HF_MIXTRAL);
  EXPECT_EQ(router.aux_loss_coefficient(), 0.02);
  EXPECT_TRUE(router.renormalize());
}

TEST(FindPreset, AnUnknownNameGetsTheNearestOne) {
  const auto preset = FindPreset("mixtral8x7b");
  EXPECT_EQ(preset.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(preset.status().message(),
            "there is no preset 'mixtral8x7b'; did you mean 'mixtral-8x7b'?");
}

}  // namespace
}  // namespace moe
