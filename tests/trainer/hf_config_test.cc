#include "trainer/checkpoint/format/hf_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_replace.h"
#include "google/protobuf/util/message_differencer.h"
#include "nlohmann/json.hpp"

namespace moe {
namespace {

using google::protobuf::util::MessageDifferencer;
using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

ModelConfig OddModel() {
  ModelConfig model;
  model.set_vocab_size(1000);
  model.set_hidden_size(48);
  model.set_intermediate_size(56);
  model.set_num_hidden_layers(3);
  model.set_num_attention_heads(6);
  model.set_num_key_value_heads(2);
  model.set_head_dim(10);
  model.set_num_local_experts(4);
  model.set_num_experts_per_tok(2);
  model.set_rope_theta(12345.5);
  model.set_rms_norm_eps(1e-6);
  model.set_initializer_range(0.03);
  model.set_tie_word_embeddings(true);
  model.set_max_position_embeddings(77);
  return model;
}

// Mixtral-8x7B's config.json as the Hub has it.
json Mixtral8x7B() {
  return json::parse(R"({
    "architectures": ["MixtralForCausalLM"], "attention_dropout": 0.0,
    "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu",
    "hidden_size": 4096, "initializer_range": 0.02, "intermediate_size": 14336,
    "max_position_embeddings": 32768, "model_type": "mixtral",
    "num_attention_heads": 32, "num_experts_per_tok": 2,
    "num_hidden_layers": 32, "num_key_value_heads": 8, "num_local_experts": 8,
    "output_router_logits": false, "rms_norm_eps": 1e-05,
    "rope_theta": 1000000.0, "router_aux_loss_coef": 0.02,
    "sliding_window": null, "tie_word_embeddings": false,
    "torch_dtype": "bfloat16", "transformers_version": "4.36.0.dev0",
    "use_cache": true, "vocab_size": 32000})");
}

void ExpectError(const json& config, absl::StatusCode code,
                 const std::string& message) {
  const absl::Status status = ParseConfigJson(config.dump()).status();
  EXPECT_EQ(status.code(), code) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(message));
}

TEST(HuggingFaceConfig, WhatIsWrittenIsReadBack) {
  HuggingFaceConfig config =
      MakeHuggingFaceConfig(OddModel(), RouterConfig(), 64);
  config.bos_ids = {1};
  config.eos_ids = {2, 7};
  config.pad_ids = {0};
  config.sliding_window = 40;
  const auto read = ParseConfigJson(ConfigJson(config));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_TRUE(MessageDifferencer::Equals(read->model, OddModel()));
  EXPECT_TRUE(read->renormalize);
  EXPECT_EQ(read->router_aux_loss_coef, config.router_aux_loss_coef);
  EXPECT_THAT(read->bos_ids, ElementsAre(1));
  EXPECT_THAT(read->eos_ids, ElementsAre(2, 7));
  EXPECT_THAT(read->pad_ids, ElementsAre(0));
  EXPECT_EQ(read->sliding_window, 40);
  EXPECT_EQ(read->max_length(), 40);
}

TEST(HuggingFaceConfig, BothSpellingsAreWritten) {
  const json config = json::parse(
      ConfigJson(MakeHuggingFaceConfig(OddModel(), RouterConfig(), 64)));
  EXPECT_EQ(config["rope_theta"], 12345.5);
  EXPECT_EQ(config["rope_parameters"]["rope_theta"], 12345.5);
  EXPECT_EQ(config["rope_parameters"]["rope_type"], "default");
  EXPECT_EQ(config["torch_dtype"], "float32");
  EXPECT_EQ(config["dtype"], "float32");
  EXPECT_EQ(config["architectures"], json::array({"MixtralForCausalLM"}));
  EXPECT_EQ(config["model_type"], "mixtral");
  EXPECT_TRUE(config["bos_token_id"].is_null());
  // Every key of the Hub's own file is there.
  const json hubs = Mixtral8x7B();
  for (const auto& [key, value] : hubs.items())
    EXPECT_TRUE(config.contains(key)) << key;
}

TEST(HuggingFaceConfig, SequenceLengthStandsInForMaxPositions) {
  ModelConfig model = OddModel();
  model.set_max_position_embeddings(0);
  EXPECT_EQ(MakeHuggingFaceConfig(model, RouterConfig(), 64)
                .model.max_position_embeddings(),
            64);
  EXPECT_EQ(MakeHuggingFaceConfig(OddModel(), RouterConfig(), 64)
                .model.max_position_embeddings(),
            77);
}

TEST(HuggingFaceConfig, HeadDimIsWrittenWhenItFollowsFromTheRest) {
  ModelConfig model = OddModel();
  model.set_head_dim(0);
  const json config =
      json::parse(ConfigJson(MakeHuggingFaceConfig(model, RouterConfig(), 64)));
  EXPECT_EQ(config["head_dim"], 8);
}

TEST(HuggingFaceConfig, AuxCoefficientIsAsStrongAtBalance) {
  RouterConfig router;
  router.set_aux_loss_coefficient(0.01);
  // Ours at balance: 0.01 times 3 layers. Theirs: the coefficient times top-2.
  EXPECT_DOUBLE_EQ(
      MakeHuggingFaceConfig(OddModel(), router, 64).router_aux_loss_coef * 2,
      0.03);
  router.set_aux_loss_semantics(RouterConfig::HF_MIXTRAL);
  EXPECT_DOUBLE_EQ(
      MakeHuggingFaceConfig(OddModel(), router, 64).router_aux_loss_coef, 0.01);
}

TEST(HuggingFaceConfig, UnnormalizedRoutersCallThemselvesOtherwise) {
  RouterConfig router;
  router.set_renormalize(false);
  const std::string text =
      ConfigJson(MakeHuggingFaceConfig(OddModel(), router, 64));
  const json config = json::parse(text);
  EXPECT_NE(config["model_type"], "mixtral");
  EXPECT_NE(config["architectures"][0], "MixtralForCausalLM");
  EXPECT_NE(config["hidden_act"], "silu");
  const auto read = ParseConfigJson(text);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_FALSE(read->renormalize);
}

TEST(HuggingFaceConfig, ReadsTheHubsMixtral) {
  const auto config = ParseConfigJson(Mixtral8x7B().dump());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->model.hidden_size(), 4096);
  EXPECT_EQ(config->model.num_local_experts(), 8);
  EXPECT_EQ(config->model.rope_theta(), 1e6);
  EXPECT_EQ(config->model.rms_norm_eps(), 1e-5);
  EXPECT_EQ(config->model.head_dim(), 0);
  EXPECT_EQ(config->router_aux_loss_coef, 0.02);
}

TEST(HuggingFaceConfig, ReadsVersionFivesRope) {
  json config = Mixtral8x7B();
  config.erase("rope_theta");
  config["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 5e5}};
  const auto read = ParseConfigJson(config.dump());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->model.rope_theta(), 5e5);
}

TEST(HuggingFaceConfig, TheEndIsANumberOrAListOrNothing) {
  json config = Mixtral8x7B();
  config["eos_token_id"] = {7, 8, 2};
  EXPECT_THAT(ParseConfigJson(config.dump())->eos_ids, ElementsAre(7, 8, 2));
  EXPECT_THAT(*ParseGenerationEnds(config.dump()), ElementsAre(7, 8, 2));
  config["eos_token_id"] = nullptr;
  EXPECT_THAT(ParseConfigJson(config.dump())->eos_ids, IsEmpty());
  config["eos_token_id"] = 9;
  EXPECT_THAT(*ParseGenerationEnds(config.dump()), ElementsAre(9));
  EXPECT_THAT(*ParseGenerationEnds("{}"), IsEmpty());
  EXPECT_TRUE(absl::IsDataLoss(ParseGenerationEnds("[").status()));
  const auto refused = absl::StatusCode::kFailedPrecondition;
  for (const json& value : {json("two"), json(2.5), json({1, "two"}),
                            json(1ll << 40), json(true), json({{{"a", 1}}})}) {
    config["eos_token_id"] = value;
    ExpectError(config, refused, "eos_token_id is ");
  }
  config["eos_token_id"] = std::vector<int>(257, 1);
  ExpectError(config, refused, "eos_token_id has more than 256 elements");
}

TEST(HuggingFaceConfig, OtherModelsAreRefused) {
  const auto refused = absl::StatusCode::kFailedPrecondition;
  auto with = [](const char* key, const json& value) {
    json config = Mixtral8x7B();
    config[key] = value;
    return config;
  };
  ExpectError(with("model_type", "llama"), refused,
              "model_type is \"llama\", must be \"mixtral\"");
  ExpectError(with("hidden_act", "gelu"), refused, "hidden_act is \"gelu\"");
  ExpectError(with("rope_scaling", {{"type", "yarn"}}), refused,
              "rope_scaling.rope_type is \"yarn\"");
  ExpectError(with("rope_scaling", json::object()), refused, "rope_scaling");
  ExpectError(with("rope_scaling", 2.0), refused, "rope_scaling is 2.0");
  ExpectError(with("rope_parameters", {{"rope_theta", 5e5}}), refused,
              "rope_theta is 1e+06 and rope_parameters.rope_theta is 500000");
  ExpectError(with("rope_parameters", {{"full_attention", {{"a", 1}}}}),
              refused, "rope_parameters.full_attention is an object");
  ExpectError(with("rope_parameters", {{"partial_rotary_factor", 0.5}}),
              refused, "partial_rotary_factor is 0.5");
  ExpectError(with("partial_rotary_factor", 0.25), refused,
              "partial_rotary_factor is 0.25");
  ExpectError(with("attention_bias", true), refused, "attention_bias is true");
  ExpectError(with("mlp_bias", true), refused, "mlp_bias is true");
  ExpectError(with("compression_config", {{"bits", 4}}), refused,
              "compression_config");
  ExpectError(with("rope_parameters", {{"rope_type", "yarn"}}), refused,
              "rope_parameters.rope_type is \"yarn\"");
  for (const json& window : {json(0), json(-1), json("all")})
    ExpectError(with("sliding_window", window), refused, "sliding_window is ");
  ExpectError(with("quantization_config", {{"bits", 4}}), refused,
              "quantization_config");
  ExpectError(with("num_attention_heads", 33), refused, "33");
  ExpectError(with("vocab_size", -5), refused, "vocab_size is -5");
  ExpectError(with("vocab_size", 18446744073709551615u), refused,
              "vocab_size is 18446744073709551615");
  ExpectError(with("vocab_size", "many"), refused, "a whole number");
  ExpectError(with("rope_theta", "big"), refused, "rope_theta");
}

TEST(HuggingFaceConfig, WhatChangesNothingIsTaken) {
  json config = Mixtral8x7B();
  config["sliding_window"] = 4096;
  EXPECT_EQ(ParseConfigJson(config.dump())->max_length(), 4096);
  config["sliding_window"] = 65536;
  EXPECT_EQ(ParseConfigJson(config.dump())->max_length(), 32768);
  config["hidden_act"] = "swish";
  config["rope_scaling"] = {{"type", "default"}};
  config["attention_bias"] = false;
  config["partial_rotary_factor"] = 1.0;
  config["attention_dropout"] = 0.1;
  const auto read = ParseConfigJson(config.dump());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_THAT(read->not_applied, ElementsAre("attention_dropout 0.1"));
}

TEST(HuggingFaceConfig, MissingKeysAreNamed) {
  for (const char* key :
       {"model_type", "vocab_size", "hidden_size", "intermediate_size",
        "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
        "num_local_experts", "num_experts_per_tok",
        "max_position_embeddings"}) {
    json config = Mixtral8x7B();
    config.erase(key);
    ExpectError(config, absl::StatusCode::kDataLoss,
                std::string(key) + " is missing");
  }
}

TEST(HuggingFaceConfig, WhatIsNoObjectIsRefused) {
  for (const char* text : {"", "{", "[]", "7", "{} {}"})
    EXPECT_EQ(ParseConfigJson(text).status().code(),
              absl::StatusCode::kDataLoss)
        << text;
}

// Messages show the value that is refused: printing descends it.
TEST(HuggingFaceConfig, DeepNestingEndsNoStack) {
  const std::string deep =
      std::string(1'000'000, '[') + std::string(1'000'000, ']');
  for (const char* key : {"model_type", "sliding_window", "eos_token_id",
                          "rope_parameters", "unknown"}) {
    std::string text = Mixtral8x7B().dump();
    text.pop_back();
    const auto config =
        ParseConfigJson(text + ",\"" + key + "\":" + deep + "}");
    EXPECT_EQ(config.ok(), std::string(key) == "unknown") << config.status();
  }
}

TEST(HuggingFaceConfig, MoreThan16MiBAreRefused) {
  std::string text = Mixtral8x7B().dump();
  text.resize(16 << 20, ' ');
  EXPECT_TRUE(ParseConfigJson(text).ok());
  text += ' ';
  EXPECT_THAT(std::string(ParseConfigJson(text).status().message()),
              HasSubstr("has 16777217 bytes, must be at most 16777216"));
}

TEST(HuggingFaceConfig, GenerationKnowsTheEnd) {
  HuggingFaceConfig config;
  config.bos_ids = {1};
  config.eos_ids = {2};
  const json generation = json::parse(GenerationConfigJson(config));
  EXPECT_EQ(generation["bos_token_id"], 1);
  EXPECT_EQ(generation["eos_token_id"], 2);
}

}  // namespace
}  // namespace moe
