#include "moe/model_config.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "comm/base/check_range.h"
#include "comm/base/status_macros.h"

namespace moe {
namespace {

absl::Status CheckPositive(absl::string_view key, double value) {
  if (std::isfinite(value) && value > 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(key, " is ", value, ", must be greater than 0"));
}

absl::Status CheckNotNegative(absl::string_view key, double value) {
  if (std::isfinite(value) && value >= 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(key, " is ", value, ", must be at least 0"));
}

absl::Status CheckSizes(const ModelConfig& c) {
  constexpr int64_t kMost = 1 << 20;
  RETURN_IF_ERROR(CheckInteger("model.vocab_size", c.vocab_size(), 2, 1 << 24));
  RETURN_IF_ERROR(CheckInteger("model.hidden_size", c.hidden_size(), 1, kMost));
  RETURN_IF_ERROR(
      CheckInteger("model.intermediate_size", c.intermediate_size(), 1, kMost));
  RETURN_IF_ERROR(
      CheckInteger("model.num_hidden_layers", c.num_hidden_layers(), 1, 10000));
  RETURN_IF_ERROR(CheckInteger("model.num_attention_heads",
                               c.num_attention_heads(), 1, 1 << 16));
  RETURN_IF_ERROR(
      CheckUpTo("model.num_key_value_heads", c.num_key_value_heads(), 1,
                "model.num_attention_heads", c.num_attention_heads()));
  RETURN_IF_ERROR(CheckInteger("model.head_dim", c.head_dim(), 0, 1 << 16));
  RETURN_IF_ERROR(CheckInteger("model.num_local_experts", c.num_local_experts(),
                               1, 1 << 16));
  RETURN_IF_ERROR(CheckUpTo("model.num_experts_per_tok",
                            c.num_experts_per_tok(), 1,
                            "model.num_local_experts", c.num_local_experts()));
  return CheckInteger("model.max_position_embeddings",
                      c.max_position_embeddings(), 0, int64_t{1} << 30);
}

}  // namespace

absl::Status ValidateModel(const ModelConfig& c) {
  RETURN_IF_ERROR(CheckSizes(c));
  RETURN_IF_ERROR(CheckPositive("model.rope_theta", c.rope_theta()));
  RETURN_IF_ERROR(CheckPositive("model.rms_norm_eps", c.rms_norm_eps()));
  RETURN_IF_ERROR(
      CheckPositive("model.initializer_range", c.initializer_range()));
  if (c.num_attention_heads() % c.num_key_value_heads() != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("model.num_attention_heads is ", c.num_attention_heads(),
                     ", must be divisible by model.num_key_value_heads (",
                     c.num_key_value_heads(), ")"));
  }
  if (c.head_dim() == 0 && c.hidden_size() % c.num_attention_heads() != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "model.hidden_size is ", c.hidden_size(),
        ", must be divisible by model.num_attention_heads (",
        c.num_attention_heads(), ") unless model.head_dim is given"));
  }
  if (HeadDim(c) % 2 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("the width of a head (model.head_dim, or hidden_size / "
                     "num_attention_heads) is ",
                     HeadDim(c), ", must be even for the rotary embedding"));
  }
  return absl::OkStatus();
}

absl::Status ValidateRouter(const RouterConfig& c) {
  RETURN_IF_ERROR(CheckNotNegative("router.aux_loss_coefficient",
                                   c.aux_loss_coefficient()));
  RETURN_IF_ERROR(
      CheckNotNegative("router.z_loss_coefficient", c.z_loss_coefficient()));
  if (c.aux_loss_semantics() == RouterConfig::HF_MIXTRAL &&
      c.aux_loss_scope() != RouterConfig::MICRO_BATCH) {
    return absl::InvalidArgumentError(
        "router.aux_loss_semantics is HF_MIXTRAL, which needs "
        "router.aux_loss_scope=MICRO_BATCH (it is SEQUENCE)");
  }
  return CheckNotNegative("router.capacity_factor", c.capacity_factor());
}

int64_t HeadDim(const ModelConfig& config) {
  return config.head_dim() > 0
             ? config.head_dim()
             : config.hidden_size() / config.num_attention_heads();
}

AttentionShape MakeAttentionShape(const ModelConfig& config, int tensor_ranks) {
  return {.heads = config.num_attention_heads() / tensor_ranks,
          .kv_heads = config.num_key_value_heads() / tensor_ranks,
          .head_dim = HeadDim(config)};
}

int64_t EvenRowsOfSequence(const ModelConfig& model, const RouterConfig& router,
                           int64_t length) {
  return std::min(
      length * model.num_experts_per_tok(),
      model.num_local_experts() * ExpertCapacity(model, router, length));
}

double AuxLossAtBalance(const ModelConfig& model, const RouterConfig& router) {
  return router.aux_loss_semantics() == RouterConfig::HF_MIXTRAL
             ? model.num_experts_per_tok()
             : model.num_hidden_layers();
}

int64_t ExpertCapacity(const ModelConfig& model, const RouterConfig& router,
                       int64_t length) {
  if (router.capacity_factor() == 0) return length;
  const double exact = router.capacity_factor() * model.num_experts_per_tok() *
                       static_cast<double>(length) / model.num_local_experts();
  // Rounding may have put a whole number just above itself.
  constexpr double kBelow = 1 - 1e-12;
  const double rows = std::max(1.0, std::ceil(exact * kBelow));
  return rows < static_cast<double>(length) ? static_cast<int64_t>(rows)
                                            : length;
}

ParameterCounts CountParameters(const ModelConfig& c) {
  const int64_t width = c.hidden_size();
  const int64_t vocabulary = int64_t{c.vocab_size()} * width;
  const int64_t heads = c.num_attention_heads();
  const int64_t kv_heads = c.num_key_value_heads();
  const int64_t attention = 2 * (heads + kv_heads) * HeadDim(c) * width;
  const int64_t expert = 3 * width * c.intermediate_size();
  const int64_t rest = 2 * width + c.num_local_experts() * width;
  const int64_t outside =
      vocabulary * (c.tie_word_embeddings() ? 1 : 2) + width;
  const int64_t layers = c.num_hidden_layers();
  return {.total = outside +
                   layers * (attention + rest + c.num_local_experts() * expert),
          .active = outside + layers * (attention + rest +
                                        c.num_experts_per_tok() * expert)};
}

double ModelFlopsPerToken(const ModelConfig& c, int64_t length) {
  const int64_t look_up =
      c.tie_word_embeddings() ? 0 : int64_t{c.vocab_size()} * c.hidden_size();
  return 6.0 * static_cast<double>(CountParameters(c).active - look_up) +
         6.0 *
             static_cast<double>(c.num_hidden_layers() *
                                 c.num_attention_heads() * HeadDim(c) * length);
}

double RecomputedFlopsPerToken(const ModelConfig& c, int64_t length,
                               Recompute recompute) {
  const double D = c.hidden_size();
  const double A = static_cast<double>(c.num_attention_heads() * HeadDim(c));
  const double kv = static_cast<double>(c.num_key_value_heads() * HeadDim(c));
  const double experts =
      4.0 * c.num_experts_per_tok() * D * c.intermediate_size();
  const double attention =
      2.0 * D * (A + 2 * kv) + 2.0 * A * D +  // products
      2.0 * A * static_cast<double>(length);  // scores, their causal half
  const double router = 2.0 * D * c.num_local_experts();
  switch (recompute) {
    case Recompute::kNone:
      return 0;
    case Recompute::kExperts:
      return c.num_hidden_layers() * experts;
    case Recompute::kBlock:
      return c.num_hidden_layers() * (attention + router + experts);
  }
  return 0;
}

}  // namespace moe
