#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tests/fuzz/reader_seeds.h"
#include "trainer/checkpoint/format/hf_config.h"
#include "trainer/checkpoint/format/manifest.h"
#include "trainer/checkpoint/format/state_piece.h"

namespace moe {
namespace {

ModelConfig SmallModel() {
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
  model.set_max_position_embeddings(77);
  return model;
}

// Version 4's spelling, every key that decides.
constexpr char kHubsConfig[] =
    "{\"architectures\":[\"MixtralForCausalLM\"],\"model_type\":\"mixtral\","
    "\"bos_token_id\":1,\"eos_token_id\":[2,3],\"hidden_act\":\"silu\","
    "\"hidden_size\":4096,\"head_dim\":null,\"initializer_range\":0.02,"
    "\"intermediate_size\":14336,\"max_position_embeddings\":32768,"
    "\"num_attention_heads\":32,\"num_key_value_heads\":8,"
    "\"num_hidden_layers\":32,\"num_local_experts\":8,"
    "\"num_experts_per_tok\":2,\"rms_norm_eps\":1e-05,"
    "\"rope_theta\":1000000.0,\"router_aux_loss_coef\":0.02,"
    "\"sliding_window\":null,\"tie_word_embeddings\":false,"
    "\"vocab_size\":32000}";

std::string HubsConfigWith(const std::string& old_text,
                           const std::string& new_text) {
  return absl::StrReplaceAll(kHubsConfig, {{old_text, new_text}});
}

void AddConfigJson(SeedFiles& seeds) {
  const std::string accepted = "hf_config/accepted_";
  const std::string refused = "hf_config/refused_";
  HuggingFaceConfig config =
      MakeHuggingFaceConfig(SmallModel(), RouterConfig(), 64);
  config.eos_ids = {2, 7};
  seeds[accepted + "ours"] = ConfigJson(config);
  RouterConfig router;
  router.set_renormalize(false);
  seeds[accepted + "unnormalized"] =
      ConfigJson(MakeHuggingFaceConfig(SmallModel(), router, 64));
  seeds[accepted + "hub"] = kHubsConfig;
  seeds[accepted + "rope_parameters"] = HubsConfigWith(
      "\"rope_theta\":1000000.0",
      "\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":5e5}");
  seeds[refused + "other_model"] = HubsConfigWith("mixtral", "llama");
  seeds[refused + "rope_scaling"] =
      HubsConfigWith("\"head_dim\":null", "\"rope_scaling\":{\"type\":\"x\"}");
  seeds[refused + "huge_number"] = HubsConfigWith("1000000.0", "1e999");
  seeds[refused + "negative_size"] = HubsConfigWith("32000", "-1");
  seeds[refused + "size_of_65_bits"] =
      HubsConfigWith("32000", "36893488147419103232");
  seeds[refused + "deep_nesting"] = HubsConfigWith(
      "\"mixtral\"",
      absl::StrCat(std::string(200, '['), std::string(200, ']')));
  seeds[refused + "no_object"] = "[]";
  seeds[refused + "cut"] = std::string(kHubsConfig, 100);
}

CheckpointManifest SmallManifest() {
  CheckpointManifest manifest;
  manifest.set_version(kManifestVersion);
  manifest.set_step(1000);
  manifest.set_consumed_samples(64000);
  manifest.set_ranks(16);
  manifest.set_tensor_parallel(2);
  manifest.set_expert_parallel(8);
  manifest.set_valid_loss(2.5);
  CheckpointManifest::File* file = manifest.add_file();
  file->set_name("model.safetensors");
  file->set_num_bytes(104);
  file->set_xxh3(0x123456789abcdef);
  return manifest;
}

void AddManifests(SeedFiles& seeds) {
  const std::string text = ManifestText(SmallManifest());
  seeds["manifest/accepted_written"] = text;
  seeds["manifest/refused_cut"] = text.substr(0, text.size() - 1);
  seeds["manifest/refused_changed"] =
      absl::StrReplaceAll(text, {{"step: 1000", "step: 1001"}});
  CheckpointManifest manifest = SmallManifest();
  manifest.mutable_file(0)->set_name("../model.safetensors");
  seeds["manifest/refused_leads_out"] = ManifestText(manifest);
  manifest = SmallManifest();
  *manifest.add_file() = manifest.file(0);
  seeds["manifest/refused_file_twice"] = ManifestText(manifest);
  manifest = SmallManifest();
  manifest.set_version(2);
  seeds["manifest/refused_other_version"] = ManifestText(manifest);
  // What the target itself signs.
  seeds["manifest/refused_unsigned"] =
      "version: 1 step: 7 valid_loss: nan file < name: \"a\\0b\" > file {}";
  seeds["manifest/refused_nesting"] = "file { file { file { file {";
}

void AddWeightsIndexes(SeedFiles& seeds) {
  const std::string at = "weights_index/";
  seeds[at + "accepted_hub"] =
      "{\"metadata\":{\"total_size\":93405585408,\"x\":[1,{\"y\":-1.5}]},"
      "\"weight_map\":{\"lm_head.weight\":\"model-00002-of-00002.safetensors\","
      "\"model.norm.weight\":\"model-00001-of-00002.safetensors\"}}";
  seeds[at + "refused_no_map"] = "{\"metadata\":{}}";
  seeds[at + "refused_map_twice"] = "{\"weight_map\":{},\"weight_map\":{}}";
  seeds[at + "refused_leads_out"] = "{\"weight_map\":{\"a\":\"../b\"}}";
  seeds[at + "refused_zero_in_name"] = "{\"weight_map\":{\"a\":\"b\\u0000c\"}}";
  seeds[at + "refused_number"] = "{\"weight_map\":{\"a\":7}}";
  seeds[at + "refused_name_twice"] =
      "{\"weight_map\":{\"a\":\"b\",\"a\":\"b\"}}";
  seeds[at + "refused_zero_byte"] = std::string("{\"weight_map\":{}}\0x", 19);
  seeds[at + "refused_deep_nesting"] = "{\"x\":" + std::string(200, '[');
  seeds[at + "refused_byte_order_mark"] = "\xef\xbb\xbf{\"weight_map\":{}}";
}

void AddPieceNames(SeedFiles& seeds) {
  const std::string at = "state_piece/";
  seeds[at + "accepted_written"] =
      PieceName({.parameter = "model.layers.0.self_attn.o_proj.weight",
                 .state = kFirstMoment,
                 .slice = {0, 96, 24, 24},
                 .begin = 100,
                 .count = 512});
  seeds[at + "accepted_largest"] =
      "a|b|0:2147483648,0:2147483648|0:4611686018427387904";
  seeds[at + "accepted_nothing"] = "||0:0,0:0|0:0";
  seeds[at + "refused_too_long"] = "a|b|0:2,0:2|0:5";
  seeds[at + "refused_backwards"] = "a|b|2:1,0:2|0:1";
  seeds[at + "refused_negative"] = "a|b|-1:1,0:2|0:1";
  seeds[at + "refused_65_bits"] = "a|b|0:18446744073709551617,0:1|0:1";
  seeds[at + "refused_parts"] = "a|b|0:2,0:2";
}

}  // namespace

void AddCheckpointSeeds(SeedFiles& seeds) {
  AddConfigJson(seeds);
  AddManifests(seeds);
  AddWeightsIndexes(seeds);
  AddPieceNames(seeds);
}

}  // namespace moe
