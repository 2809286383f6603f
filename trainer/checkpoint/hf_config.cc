#include "trainer/checkpoint/hf_config.h"

#include <limits>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "comm/check.h"
#include "comm/status_macros.h"
#include "moe/model_config.h"
#include "nlohmann/json.hpp"
#include "trainer/checkpoint/json_settings.h"

namespace moe {
namespace {

using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json;

constexpr char kMixtralType[] = "mixtral";
constexpr char kMixtralClass[] = "MixtralForCausalLM";
constexpr char kMixtralActivation[] = "silu";
// The same, without routing weights that sum to 1.
constexpr char kUnnormalizedType[] = "mixtral_unnormalized_router";
constexpr char kUnnormalizedClass[] = "MixtralUnnormalizedRouterForCausalLM";
constexpr char kUnnormalizedActivation[] = "silu_unnormalized_router";

// The version whose spelling of keys and whose tensor names we write.
constexpr char kTransformersVersion[] = "4.57.0";

OrderedJson IdOrNull(int id) {
  return id < 0 ? OrderedJson(nullptr) : OrderedJson(id);
}

// --- reading ----------------------------------------------------------------

absl::Status Missing(absl::string_view key) {
  return absl::DataLossError(absl::StrCat(key, " is missing"));
}

absl::Status Refused(absl::string_view key, const Json& value,
                     absl::string_view must_be) {
  return absl::FailedPreconditionError(absl::StrCat(
      key, " is ", value.dump().substr(0, 100), ", must be ", must_be));
}

// Null counts as absent, as in transformers.
const Json* FindKey(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

absl::StatusOr<int> ReadInt(const Json& object, const char* key) {
  const Json* value = FindKey(object, key);
  if (value == nullptr) return Missing(key);
  if (!value->is_number_integer())
    return Refused(key, *value, "a whole number");
  const int64_t number =
      value->is_number_unsigned() &&
              value->get<uint64_t>() > std::numeric_limits<int>::max()
          ? std::numeric_limits<int64_t>::max()
          : value->get<int64_t>();
  if (number < 0 || number > std::numeric_limits<int>::max())
    return Refused(key, *value, "from 0 to 2147483647");
  return static_cast<int>(number);
}

absl::StatusOr<int> ReadInt(const Json& object, const char* key, int absent) {
  return FindKey(object, key) == nullptr ? absent : ReadInt(object, key);
}

// A token's id, the first of a list, or -1.
absl::StatusOr<int> ReadId(const Json& object, const char* key) {
  const Json* value = FindKey(object, key);
  if (value == nullptr) return -1;
  if (value->is_array() && !value->empty())
    return ReadInt(Json{{key, value->front()}}, key);
  return ReadInt(object, key);
}

absl::StatusOr<double> ReadDouble(const Json& object, const char* key,
                                  double absent) {
  const Json* value = FindKey(object, key);
  if (value == nullptr) return absent;
  if (!value->is_number()) return Refused(key, *value, "a number");
  return value->get<double>();
}

absl::StatusOr<bool> ReadBool(const Json& object, const char* key,
                              bool absent) {
  const Json* value = FindKey(object, key);
  if (value == nullptr) return absent;
  if (!value->is_boolean()) return Refused(key, *value, "true or false");
  return value->get<bool>();
}

// Whether it is Mixtral or our kin of it.
absl::StatusOr<bool> ReadRenormalize(const Json& object) {
  const Json* type = FindKey(object, "model_type");
  if (type == nullptr) return Missing("model_type");
  const bool renormalize = *type == kMixtralType;
  if (!renormalize && *type != kUnnormalizedType)
    return Refused("model_type", *type, "\"mixtral\"");
  const char* activation =
      renormalize ? kMixtralActivation : kUnnormalizedActivation;
  if (const Json* act = FindKey(object, "hidden_act");
      act != nullptr && *act != activation)
    return Refused("hidden_act", *act, absl::StrCat("\"", activation, "\""));
  return renormalize;
}

// What changes the network in ways that we do not compute.
absl::Status CheckNothingUnknown(const Json& object, int max_positions) {
  if (const Json* value = FindKey(object, "quantization_config"))
    return Refused("quantization_config", *value, "absent");
  if (const Json* value = FindKey(object, "rope_scaling"))
    return Refused("rope_scaling", *value, "null");
  const Json* window = FindKey(object, "sliding_window");
  if (window != nullptr &&
      !(window->is_number_integer() && *window >= max_positions)) {
    return Refused("sliding_window", *window,
                   absl::StrCat("null or at least max_position_embeddings (",
                                max_positions, ")"));
  }
  return absl::OkStatus();
}

// Version 4 has rope_theta, 5 rope_parameters.
absl::StatusOr<double> ReadRopeTheta(const Json& object) {
  ASSIGN_OR_RETURN(const double theta, ReadDouble(object, "rope_theta", 1e6));
  const Json* rope = FindKey(object, "rope_parameters");
  if (rope == nullptr) return theta;
  if (!rope->is_object()) return Refused("rope_parameters", *rope, "an object");
  if (const Json* type = FindKey(*rope, "rope_type");
      type != nullptr && *type != "default")
    return Refused("rope_parameters.rope_type", *type, "\"default\"");
  return ReadDouble(*rope, "rope_theta", theta);
}

absl::Status ReadSizes(const Json& object, ModelConfig& model) {
  ASSIGN_OR_RETURN(const int vocab, ReadInt(object, "vocab_size"));
  ASSIGN_OR_RETURN(const int width, ReadInt(object, "hidden_size"));
  ASSIGN_OR_RETURN(const int hidden, ReadInt(object, "intermediate_size"));
  ASSIGN_OR_RETURN(const int layers, ReadInt(object, "num_hidden_layers"));
  ASSIGN_OR_RETURN(const int heads, ReadInt(object, "num_attention_heads"));
  ASSIGN_OR_RETURN(const int kv_heads, ReadInt(object, "num_key_value_heads"));
  ASSIGN_OR_RETURN(const int head_dim, ReadInt(object, "head_dim", 0));
  ASSIGN_OR_RETURN(const int experts, ReadInt(object, "num_local_experts"));
  ASSIGN_OR_RETURN(const int top_k, ReadInt(object, "num_experts_per_tok"));
  ASSIGN_OR_RETURN(const int positions,
                   ReadInt(object, "max_position_embeddings"));
  model.set_vocab_size(vocab);
  model.set_hidden_size(width);
  model.set_intermediate_size(hidden);
  model.set_num_hidden_layers(layers);
  model.set_num_attention_heads(heads);
  model.set_num_key_value_heads(kv_heads);
  model.set_head_dim(head_dim);
  model.set_num_local_experts(experts);
  model.set_num_experts_per_tok(top_k);
  model.set_max_position_embeddings(positions);
  return absl::OkStatus();
}

absl::StatusOr<HuggingFaceConfig> Read(const Json& object) {
  HuggingFaceConfig config;
  ASSIGN_OR_RETURN(config.renormalize, ReadRenormalize(object));
  RETURN_IF_ERROR(ReadSizes(object, config.model));
  RETURN_IF_ERROR(
      CheckNothingUnknown(object, config.model.max_position_embeddings()));
  ASSIGN_OR_RETURN(const double theta, ReadRopeTheta(object));
  ASSIGN_OR_RETURN(const double epsilon,
                   ReadDouble(object, "rms_norm_eps", 1e-5));
  ASSIGN_OR_RETURN(const double deviation,
                   ReadDouble(object, "initializer_range", 0.02));
  ASSIGN_OR_RETURN(const bool tie,
                   ReadBool(object, "tie_word_embeddings", false));
  config.model.set_rope_theta(theta);
  config.model.set_rms_norm_eps(epsilon);
  config.model.set_initializer_range(deviation);
  config.model.set_tie_word_embeddings(tie);
  ASSIGN_OR_RETURN(config.router_aux_loss_coef,
                   ReadDouble(object, "router_aux_loss_coef", 0.001));
  ASSIGN_OR_RETURN(config.bos_id, ReadId(object, "bos_token_id"));
  ASSIGN_OR_RETURN(config.eos_id, ReadId(object, "eos_token_id"));
  return config;
}

}  // namespace

HuggingFaceConfig MakeHuggingFaceConfig(const ModelConfig& model,
                                        const RouterConfig& router,
                                        int64_t sequence_length) {
  HuggingFaceConfig config;
  config.model = model;
  if (model.max_position_embeddings() == 0)
    config.model.set_max_position_embeddings(static_cast<int>(sequence_length));
  config.renormalize = router.renormalize();
  config.router_aux_loss_coef =
      router.aux_loss_semantics() == RouterConfig::HF_MIXTRAL
          ? router.aux_loss_coefficient()
          : router.aux_loss_coefficient() * model.num_hidden_layers() /
                model.num_experts_per_tok();
  return config;
}

std::string ConfigJson(const HuggingFaceConfig& config) {
  const ModelConfig& model = config.model;
  const bool mixtral = config.renormalize;
  OrderedJson json;
  json["architectures"] = {mixtral ? kMixtralClass : kUnnormalizedClass};
  json["model_type"] = mixtral ? kMixtralType : kUnnormalizedType;
  json["attention_dropout"] = 0.0;
  json["bos_token_id"] = IdOrNull(config.bos_id);
  json["eos_token_id"] = IdOrNull(config.eos_id);
  json["pad_token_id"] = nullptr;
  json["hidden_act"] = mixtral ? kMixtralActivation : kUnnormalizedActivation;
  json["hidden_size"] = model.hidden_size();
  json["head_dim"] = HeadDim(model);
  json["initializer_range"] = model.initializer_range();
  json["intermediate_size"] = model.intermediate_size();
  json["max_position_embeddings"] = model.max_position_embeddings();
  json["num_attention_heads"] = model.num_attention_heads();
  json["num_key_value_heads"] = model.num_key_value_heads();
  json["num_hidden_layers"] = model.num_hidden_layers();
  json["num_local_experts"] = model.num_local_experts();
  json["num_experts_per_tok"] = model.num_experts_per_tok();
  json["output_router_logits"] = false;
  json["rms_norm_eps"] = model.rms_norm_eps();
  json["router_aux_loss_coef"] = config.router_aux_loss_coef;
  json["router_jitter_noise"] = 0.0;
  json["sliding_window"] = nullptr;
  json["tie_word_embeddings"] = model.tie_word_embeddings();
  json["use_cache"] = true;
  json["vocab_size"] = model.vocab_size();
  json["rope_theta"] = model.rope_theta();
  json["rope_parameters"] = {{"rope_type", "default"},
                             {"rope_theta", model.rope_theta()}};
  json["torch_dtype"] = "float32";
  json["dtype"] = "float32";
  json["transformers_version"] = kTransformersVersion;
  return json.dump(2) + "\n";
}

std::string WithWeightsDType(absl::string_view config_json,
                             absl::string_view dtype) {
  OrderedJson json =
      OrderedJson::parse(config_json.begin(), config_json.end(), nullptr,
                         /*allow_exceptions=*/false);
  CHECK(json.is_object());
  json["torch_dtype"] = std::string(dtype);
  json["dtype"] = std::string(dtype);
  return json.dump(2) + "\n";
}

std::string GenerationConfigJson(const HuggingFaceConfig& config) {
  OrderedJson json;
  json["bos_token_id"] = IdOrNull(config.bos_id);
  json["eos_token_id"] = IdOrNull(config.eos_id);
  json["transformers_version"] = kTransformersVersion;
  return json.dump(2) + "\n";
}

absl::StatusOr<HuggingFaceConfig> ParseConfigJson(absl::string_view text) {
  ASSIGN_OR_RETURN(const Json object, ParseJsonSettings(text));
  ASSIGN_OR_RETURN(HuggingFaceConfig config, Read(object));
  const absl::Status valid = ValidateModel(config.model);
  if (!valid.ok()) return absl::FailedPreconditionError(valid.message());
  if (config.model.max_position_embeddings() == 0)
    return absl::FailedPreconditionError("max_position_embeddings is 0");
  return config;
}

}  // namespace moe
