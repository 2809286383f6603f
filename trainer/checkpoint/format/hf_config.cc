#include "trainer/checkpoint/format/hf_config.h"

#include <limits>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "comm/base/check.h"
#include "comm/base/status_macros.h"
#include "moe/model_config.h"
#include "nlohmann/json.hpp"
#include "trainer/checkpoint/format/json_settings.h"

namespace moe {
namespace {

using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json;

constexpr char kMixtralType[] = "mixtral";
constexpr char kMixtralClass[] = "MixtralForCausalLM";
constexpr char kMixtralActivation[] = "silu";
constexpr char kMixtralActivationAlias[] = "swish";
// The same, without routing weights that sum to 1.
constexpr char kUnnormalizedType[] = "mixtral_unnormalized_router";
constexpr char kUnnormalizedClass[] = "MixtralUnnormalizedRouterForCausalLM";
constexpr char kUnnormalizedActivation[] = "silu_unnormalized_router";

// The version whose spelling of keys and whose tensor names we write.
constexpr char kTransformersVersion[] = "4.57.0";

OrderedJson IdsJson(const std::vector<int>& ids) {
  if (ids.empty()) return nullptr;
  return ids.size() == 1 ? OrderedJson(ids.front()) : OrderedJson(ids);
}

OrderedJson WindowJson(int window) {
  return window > 0 ? OrderedJson(window) : OrderedJson(nullptr);
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

// Tokens' ids: a number, a list, or null. Negative ones, which some writers use
// for none, are kept as they are.
absl::StatusOr<std::vector<int>> ReadIds(const Json& object, const char* key) {
  constexpr char kMeaning[] = "a token's id or a list of them";
  const Json* value = FindKey(object, key);
  if (value == nullptr) return std::vector<int>();
  const Json list = value->is_array() ? *value : Json::array({*value});
  if (list.size() >= kMaxSettingElements) {
    return absl::FailedPreconditionError(absl::StrCat(
        key, " has more than ", kMaxSettingElements - 1, " elements"));
  }
  std::vector<int> ids;
  for (const Json& id : list) {
    if (!id.is_number_integer()) return Refused(key, *value, kMeaning);
    const auto number = id.is_number_unsigned()
                            ? static_cast<double>(id.get<uint64_t>())
                            : static_cast<double>(id.get<int64_t>());
    using Limits = std::numeric_limits<int>;
    if (number < Limits::min() || number > Limits::max())
      return Refused(key, *value, kMeaning);
    ids.push_back(static_cast<int>(number));
  }
  return ids;
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
  const Json* activation = FindKey(object, "hidden_act");
  if (activation == nullptr) return renormalize;
  const bool same = renormalize ? *activation == kMixtralActivation ||
                                      *activation == kMixtralActivationAlias
                                : *activation == kUnnormalizedActivation;
  if (!same) {
    return Refused(
        "hidden_act", *activation,
        absl::StrCat("\"",
                     renormalize ? kMixtralActivation : kUnnormalizedActivation,
                     "\""));
  }
  return renormalize;
}

// A key that changes the network unless it is absent or has this value.
absl::Status CheckOnly(const Json& object, const char* key,
                       const Json& harmless) {
  const Json* value = FindKey(object, key);
  if (value == nullptr || *value == harmless) return absl::OkStatus();
  return Refused(key, *value, absl::StrCat("absent or ", harmless.dump()));
}

// What changes the network in ways that we do not compute.
absl::Status CheckNothingUnknown(const Json& object) {
  for (const char* key : {"quantization_config", "compression_config"}) {
    if (const Json* value = FindKey(object, key))
      return Refused(key, *value, "absent: quantized weights are not read");
  }
  for (const char* key : {"attention_bias", "mlp_bias"})
    RETURN_IF_ERROR(CheckOnly(object, key, false));
  return CheckOnly(object, "partial_rotary_factor", 1.0);
}

// What transformers applies in training alone, and we never.
absl::StatusOr<std::vector<std::string>> ReadNotApplied(const Json& object) {
  std::vector<std::string> not_applied;
  for (const char* key : {"attention_dropout", "router_jitter_noise"}) {
    ASSIGN_OR_RETURN(const double value, ReadDouble(object, key, 0));
    if (value != 0) not_applied.push_back(absl::StrCat(key, " ", value));
  }
  return not_applied;
}

absl::StatusOr<int> ReadWindow(const Json& object) {
  ASSIGN_OR_RETURN(const int window, ReadInt(object, "sliding_window", 0));
  const Json* value = FindKey(object, "sliding_window");
  if (value != nullptr && window < 1)
    return Refused("sliding_window", *value, "null or at least 1");
  return window;
}

// A description of rotary embeddings, version 4's rope_scaling or 5's
// rope_parameters: only the plain ones are computed.
absl::Status CheckPlainRope(const Json& rope, const char* key) {
  if (!rope.is_object()) return Refused(key, rope, "an object");
  const Json* type = FindKey(rope, "rope_type");
  if (type == nullptr) type = FindKey(rope, "type");  // older files
  if (type != nullptr && *type != "default") {
    return Refused(absl::StrCat(key, ".rope_type"), *type, "\"default\"");
  }
  for (const auto& [name, value] : rope.items()) {
    if (value.is_structured()) {  // one for each kind of layer
      return absl::FailedPreconditionError(absl::StrCat(
          key, ".", name, " is an object or list, must be one value"));
    }
  }
  return CheckOnly(rope, "partial_rotary_factor", 1.0);
}

// Version 4 has rope_theta, 5 rope_parameters (or rope_scaling under that
// name); each passes over the other's.
absl::StatusOr<double> ReadRopeTheta(const Json& object) {
  constexpr char kTheta[] = "rope_theta";
  bool is_said = FindKey(object, kTheta) != nullptr;
  ASSIGN_OR_RETURN(double theta, ReadDouble(object, kTheta, 1e6));
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    const Json* rope = FindKey(object, key);
    if (rope == nullptr) continue;
    if (rope->empty()) return Refused(key, *rope, "null");
    RETURN_IF_ERROR(CheckPlainRope(*rope, key));
    ASSIGN_OR_RETURN(const double inner, ReadDouble(*rope, kTheta, theta));
    if (is_said && inner != theta) {
      return absl::FailedPreconditionError(
          absl::StrCat("rope_theta is ", theta, " and ", key, ".rope_theta is ",
                       inner, ", must be the same"));
    }
    is_said = is_said || FindKey(*rope, kTheta) != nullptr;
    theta = inner;
  }
  return theta;
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
  RETURN_IF_ERROR(CheckNothingUnknown(object));
  ASSIGN_OR_RETURN(config.not_applied, ReadNotApplied(object));
  ASSIGN_OR_RETURN(config.sliding_window, ReadWindow(object));
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
  ASSIGN_OR_RETURN(config.bos_ids, ReadIds(object, "bos_token_id"));
  ASSIGN_OR_RETURN(config.eos_ids, ReadIds(object, "eos_token_id"));
  ASSIGN_OR_RETURN(config.pad_ids, ReadIds(object, "pad_token_id"));
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
  json["bos_token_id"] = IdsJson(config.bos_ids);
  json["eos_token_id"] = IdsJson(config.eos_ids);
  json["pad_token_id"] = IdsJson(config.pad_ids);
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
  json["sliding_window"] = WindowJson(config.sliding_window);
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
  json["bos_token_id"] = IdsJson(config.bos_ids);
  json["eos_token_id"] = IdsJson(config.eos_ids);
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

absl::StatusOr<std::vector<int>> ParseGenerationEnds(absl::string_view text) {
  ASSIGN_OR_RETURN(const Json object, ParseJsonSettings(text));
  return ReadIds(object, "eos_token_id");
}

}  // namespace moe
