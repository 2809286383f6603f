#ifndef TRAINER_CHECKPOINT_FORMAT_HF_CONFIG_H_
#define TRAINER_CHECKPOINT_FORMAT_HF_CONFIG_H_

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "moe/model_config.pb.h"

namespace moe {

// What a checkpoint's config.json says: the model, and what a program that
// runs it has to know beside.
struct HuggingFaceConfig {
  ModelConfig model;  // max_position_embeddings is the true one, never 0
  // RouterConfig.renormalize. Models without it are not Mixtral, and every
  // reader that knows Mixtral must refuse them: model_type, architectures and
  // hidden_act then carry names of our own. (A model_type alone does not do:
  // transformers warns of it and goes on.)
  bool renormalize = true;
  // Coefficient of transformers' load_balancing_loss_func, which is top-k at
  // balance. It plays a part only when someone trains the model further with
  // output_router_logits.
  double router_aux_loss_coef = 0;
  // Tokens that begin a text, end it and fill it up; none: null in the file.
  std::vector<int> bos_ids;
  std::vector<int> eos_ids;
  std::vector<int> pad_ids;
  // A token sees no more than so many, itself included; 0: all before it. We
  // compute no windows: sequences up to this length are computed as meant.
  int sliding_window = 0;
  // What only plays a part in training and is not applied here, each with its
  // value: "attention_dropout 0.1".
  std::vector<std::string> not_applied;

  // Sequences up to here are computed as the checkpoint means them.
  int max_length() const {
    const int positions = model.max_position_embeddings();
    return sliding_window > 0 ? std::min(sliding_window, positions) : positions;
  }
};

// Facts of a checkpoint to write. Our auxiliary losses as Hugging Face's
// coefficient: the same for HF_MIXTRAL; for SWITCH, which sums
// num_hidden_layers losses of 1 at balance, the coefficient times layers /
// top-k, so that both are as strong at balance. `sequence_length` stands in for
// max_position_embeddings 0.
HuggingFaceConfig MakeHuggingFaceConfig(const ModelConfig& model,
                                        const RouterConfig& router,
                                        int64_t sequence_length);

// config.json with float32 weights and every key that transformers reads, in
// its version 4's spelling and in 5's where they differ; the defaults of the
// two differ, so none is left out.
std::string ConfigJson(const HuggingFaceConfig& config);

// A config.json that ParseConfigJson takes, with weights of another dtype
// ("bfloat16") and all else as it is.
std::string WithWeightsDType(absl::string_view config_json,
                             absl::string_view dtype);

// generation_config.json: the ids that generation starts with and ends on.
std::string GenerationConfigJson(const HuggingFaceConfig& config);

// Reads config.json, ours or any Mixtral's, of either version.
// FailedPrecondition names the key whose value is not what we compute (another
// model_type or activation, rope scaling, biases, quantized weights, ...).
// DataLoss: no JSON, a key missing or of another type.
absl::StatusOr<HuggingFaceConfig> ParseConfigJson(absl::string_view text);

// eos_token_id of a generation_config.json, a number or a list; empty: it names
// none. Errors as ParseConfigJson.
absl::StatusOr<std::vector<int>> ParseGenerationEnds(absl::string_view text);

}  // namespace moe

#endif  // TRAINER_CHECKPOINT_FORMAT_HF_CONFIG_H_
