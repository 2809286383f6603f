#include "moe/language_model.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "comm/activity.h"
#include "comm/check.h"
#include "comm/status_macros.h"
#include "moe/loss_head.h"

namespace moe {
namespace {

Tensor RotaryTableView(const LanguageModel::Options& options,
                       const Buffer& buffer) {
  return Tensor(buffer.data(),
                {options.max_length, 2, HeadDim(options.model) / 2},
                DType::kFloat32);
}

}  // namespace

absl::StatusOr<std::unique_ptr<LanguageModel>> LanguageModel::Create(
    const Options& options, const ParameterTable& table,
    const ProcessGroups& groups, KernelContext& kernels) {
  const int64_t elements = options.max_length * HeadDim(options.model);
  ASSIGN_OR_RETURN(Buffer rotary_table,
                   Buffer::Allocate(elements * SizeOf(DType::kFloat32)));
  RotaryTable(RotaryTableView(options, rotary_table),
              options.model.rope_theta());
  return std::unique_ptr<LanguageModel>(new LanguageModel(
      options, table, groups, kernels, std::move(rotary_table)));
}

LanguageModel::LanguageModel(const Options& options,
                             const ParameterTable& table,
                             const ProcessGroups& groups,
                             KernelContext& kernels, Buffer rotary_table)
    : options_(options),
      table_(table),
      kernels_(kernels),
      rotary_table_(std::move(rotary_table)),
      context_{.kernels = kernels_,
               .saved = saved_arena_,
               .scratch = scratch_arena_,
               .compute_dtype = options.compute_dtype},
      again_context_(context_),
      tensor_(groups[Axis::kTensor]),
      attention_(MakeAttentionShape(options.model, table.tensor_ranks()),
                 RotaryTableView(options, rotary_table_), tensor_),
      router_(options.model, options.router, tensor_),
      dispatcher_(groups[Axis::kExpert], options.model.num_local_experts()),
      block_(options.model, attention_, router_, dispatcher_, options.recompute,
             options.max_expert_rows),
      balancing_(options.model, options.router, groups) {
  const size_t layers = static_cast<size_t>(options.model.num_hidden_layers());
  saved_.resize(layers);
  routings_.resize(layers);
  balance_.resize(layers);
  if (options.recompute == Recompute::kBlock)
    context_.routing = &routing_arena_;
}

absl::Status LanguageModel::Forward(LossTerms* losses, const MicroBatch& batch,
                                    const ModelWeights& weights,
                                    ModelWeights* gradients) {
  const BatchShape shape =
      ShapeOf(batch.inputs_S, batch.length, batch.positions_S);
  RETURN_IF_ERROR(RunBlocks(batch.inputs_S, shape, weights));
  StageScope stage("auxiliary losses");
  RETURN_IF_ERROR(balancing_.Finish(context_, balance_, &losses->aux,
                                    absl::MakeSpan(routings_), batch.scale,
                                    batch.length));
  const double tokens = static_cast<double>(batch.scale.global_tokens);
  for (Routing& routing : routings_) {
    routing.z_loss = SumOfSquares(kernels_, routing.log_sum_exp_T) / tokens;
    losses->z += routing.z_loss;
  }
  // A batch may have no targets: the sum that is divided is 0 then.
  const double targets =
      static_cast<double>(std::max<int64_t>(1, batch.scale.global_targets));

  stage.Enter("head");
  ASSIGN_OR_RETURN(Tensor normed_TD, FinalNorm(weights));
  LossHeadArguments head = {.x_TD = normed_TD,
                            .w_VD = weights.head_VD,
                            .first_id = weights.first_id,
                            .targets_S = batch.targets_S,
                            .scale = static_cast<float>(1.0 / targets)};
  if (gradients != nullptr) {
    ASSIGN_OR_RETURN(head.d_x_TD,
                     saved_arena_.Allocate({normed_TD.dim(0), normed_TD.dim(1)},
                                           options_.compute_dtype));
    head.d_w_VD = gradients->head_VD;
  }
  d_normed_TD_ = head.d_x_TD;
  double loss_sum = 0;
  RETURN_IF_ERROR(LossHead(context_, tensor_, &loss_sum, head,
                           options_.model.vocab_size()));
  losses->cross_entropy += loss_sum / targets;
  return KernelStatus(kernels_);
}

absl::Status LanguageModel::Backward(const MicroBatch& batch,
                                     const ModelWeights& weights,
                                     ModelWeights& gradients,
                                     GradientListener* listener) {
  auto ready = [listener](ParameterRange range) {
    return listener == nullptr ? absl::OkStatus()
                               : listener->GradientsReady(range);
  };
  const BatchShape shape =
      ShapeOf(batch.inputs_S, batch.length, batch.positions_S);
  ArenaScope scope(scratch_arena_);
  ASSIGN_OR_RETURN(Tensor d_x_TD,
                   scratch_arena_.Allocate({out_TD_.dim(0), out_TD_.dim(1)},
                                           DType::kFloat32));
  SetZero(kernels_, d_x_TD);
  RmsNormBackward(kernels_, d_x_TD, gradients.norm_D, d_normed_TD_, out_TD_,
                  weights.norm_D, inverse_rms_T_);
  RETURN_IF_ERROR(ready(table_.head()));
  Show(context_, TensorKind::kFinalNormGradient, d_x_TD);

  const float z_scale =
      static_cast<float>(options_.router.z_loss_coefficient() /
                         static_cast<double>(batch.scale.global_tokens));
  for (int layer = num_layers() - 1; layer >= 0; --layer) {
    const size_t i = static_cast<size_t>(layer);
    const StageScope stage("block backward", layer);
    ArenaScope again(saved_arena_);
    if (options_.recompute == Recompute::kBlock) {
      RETURN_IF_ERROR(block_.ForwardAgain(again_context_, saved_[i],
                                          weights.layers[i], shape));
    }
    RETURN_IF_ERROR(block_.BackwardExperts(
        context_, d_x_TD, gradients.layers[i], saved_[i], routings_[i],
        balance_[i], z_scale, weights.layers[i], shape));
    RETURN_IF_ERROR(ready(table_.moe(layer)));
    Show(context_, TensorKind::kExpertsGradient, d_x_TD);
    RETURN_IF_ERROR(block_.BackwardAttention(context_, d_x_TD,
                                             gradients.layers[i], saved_[i],
                                             weights.layers[i], shape));
    RETURN_IF_ERROR(ready(table_.attention(layer)));
    Show(context_, TensorKind::kAttentionGradient, d_x_TD);
  }
  const StageScope stage("embedding backward");
  RETURN_IF_ERROR(tensor_.EmbeddingBackward(context_, gradients.embedding_VD,
                                            d_x_TD, batch.inputs_S,
                                            gradients.first_id));
  RETURN_IF_ERROR(ready(table_.embedding()));
  return KernelStatus(kernels_);
}

absl::Status LanguageModel::Logits(Tensor logits_RV, const Tensor& inputs_S,
                                   int64_t length, int64_t first_row,
                                   const ModelWeights& weights) {
  const BatchShape shape = ShapeOf(inputs_S, length, /*positions_S=*/{});
  RETURN_IF_ERROR(RunBlocks(inputs_S, shape, weights));
  ASSIGN_OR_RETURN(const Tensor normed_TD, FinalNorm(weights));
  ASSIGN_OR_RETURN(const Tensor normed_SD,
                   tensor_.Gather(context_, saved_arena_, normed_TD));
  LinearForward(kernels_, logits_RV,
                normed_SD.Rows(first_row, logits_RV.dim(0)), weights.head_VD);
  return KernelStatus(kernels_);
}

BatchShape LanguageModel::ShapeOf(const Tensor& inputs_S, int64_t length,
                                  const Tensor& positions_S) const {
  CHECK(length > 0 && length <= options_.max_length);
  CHECK(inputs_S.size() % length == 0);
  CHECK(inputs_S.size() % tensor_.size() == 0);
  CHECK(positions_S.is_null() || positions_S.size() == inputs_S.size());
  return {.length = length,
          .num_sequences = inputs_S.size() / length,
          .first_token = inputs_S.size() / tensor_.size() * tensor_.rank(),
          .positions_S = positions_S};
}

absl::Status LanguageModel::RunBlocks(const Tensor& inputs_S,
                                      const BatchShape& batch,
                                      const ModelWeights& weights) {
  const StageScope stage("embedding");
  saved_arena_.Release({});
  routing_arena_.Release({});
  ASSIGN_OR_RETURN(Tensor x_TD,
                   saved_arena_.Allocate({inputs_S.size() / tensor_.size(),
                                          options_.model.hidden_size()},
                                         DType::kFloat32));
  RETURN_IF_ERROR(tensor_.EmbeddingForward(
      context_, x_TD, inputs_S, weights.embedding_VD, weights.first_id));
  Show(context_, TensorKind::kEmbedding, x_TD);
  for (size_t layer = 0; layer < saved_.size(); ++layer) {
    const StageScope in_layer("block", static_cast<int>(layer));
    ASSIGN_OR_RETURN(
        Tensor out_TD,
        saved_arena_.Allocate({x_TD.dim(0), x_TD.dim(1)}, DType::kFloat32));
    const Arena::Mark before = saved_arena_.mark();
    RETURN_IF_ERROR(Annotate(
        block_.Forward(context_, out_TD, saved_[layer], routings_[layer], x_TD,
                       weights.layers[layer], batch),
        absl::StrCat("layer ", layer)));
    if (options_.recompute == Recompute::kBlock) saved_arena_.Release(before);
    x_TD = out_TD;
  }
  out_TD_ = x_TD;
  return absl::OkStatus();
}

absl::StatusOr<Tensor> LanguageModel::FinalNorm(const ModelWeights& weights) {
  const int64_t T = out_TD_.dim(0);
  ASSIGN_OR_RETURN(
      Tensor normed_TD,
      saved_arena_.Allocate({T, out_TD_.dim(1)}, options_.compute_dtype));
  ASSIGN_OR_RETURN(inverse_rms_T_, saved_arena_.Allocate({T}, DType::kFloat32));
  RmsNormForward(kernels_, normed_TD, inverse_rms_T_, out_TD_, weights.norm_D,
                 static_cast<float>(options_.model.rms_norm_eps()));
  Show(context_, TensorKind::kFinalNorm, normed_TD);
  return normed_TD;
}

}  // namespace moe
