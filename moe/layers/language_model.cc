#include "moe/layers/language_model.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "comm/activity.h"
#include "comm/base/check.h"
#include "comm/base/status_macros.h"
#include "moe/layers/loss_head.h"

namespace moe {
namespace {

Tensor RotaryTableView(const LanguageModel::Options& options,
                       const Buffer& buffer) {
  return Tensor(buffer.data(),
                {options.max_length, 2, HeadDim(options.model) / 2},
                DType::kFloat32);
}

// Each router fills its part of the load.
absl::Status AllocateNumbers(Pass& pass, int64_t B, int64_t E) {
  const auto num_layers = static_cast<int64_t>(pass.routings.size());
  PassNumbers& numbers = pass.numbers;
  numbers.num_layers = num_layers;
  // A float64 holds two numbers of the load, of which there are 2 B E a layer.
  const int64_t num_sums = numbers.num_sums();
  ASSIGN_OR_RETURN(
      numbers.all,
      pass.saved.Allocate({num_sums + num_layers * B * E}, DType::kFloat64));
  numbers.load_L2BE = Tensor(numbers.all.data<double>() + num_sums,
                             {num_layers, 2, B, E}, DType::kFloat32);
  for (int64_t layer = 0; layer < num_layers; ++layer) {
    Routing& routing = pass.routings[static_cast<size_t>(layer)];
    routing.counts_BE = numbers.load_L2BE[layer][0];
    routing.probability_sums_BE = numbers.load_L2BE[layer][1];
  }
  return absl::OkStatus();
}

// A batch may have no targets: the sum that is divided is 0 then.
double NumTargets(const Pass& pass) {
  return static_cast<double>(
      std::max<int64_t>(1, pass.batch.scale.global_targets));
}

// The same, for a call of one layer.
LayerContext InLayer(const LayerContext& context, int layer) {
  LayerContext of_layer = context;
  of_layer.layer = layer;
  return of_layer;
}

absl::Status Tell(GradientListener* listener, ParameterRange ready) {
  return listener == nullptr ? absl::OkStatus()
                             : listener->GradientsReady(ready);
}

}  // namespace

absl::StatusOr<std::unique_ptr<LanguageModel>> LanguageModel::Create(
    const Options& options, const ParameterTable& table,
    const ProcessGroups& groups, Kernels& kernels) {
  const int64_t elements = options.max_length * HeadDim(options.model);
  ASSIGN_OR_RETURN(
      Buffer rotary_table,
      kernels.context().Allocate(elements * SizeOf(DType::kFloat32)));
  std::vector<float> table_L2h(static_cast<size_t>(elements));
  RotaryTable(absl::MakeSpan(table_L2h), HeadDim(options.model) / 2,
              options.model.rope_theta());
  kernels.context().Upload(rotary_table.data(), table_L2h.data(),
                           rotary_table.num_bytes());
  return std::unique_ptr<LanguageModel>(new LanguageModel(
      options, table, groups, kernels, std::move(rotary_table)));
}

LanguageModel::LanguageModel(const Options& options,
                             const ParameterTable& table,
                             const ProcessGroups& groups, Kernels& kernels,
                             Buffer rotary_table)
    : options_(options),
      table_(table),
      first_trained_(table.FirstTrained()),
      kernels_(kernels),
      rotary_table_(std::move(rotary_table)),
      tensor_(groups.device(Axis::kTensor)),
      attention_(MakeAttentionShape(options.model, table.tensor_ranks()),
                 RotaryTableView(options, rotary_table_), tensor_),
      router_(options.model, options.router, tensor_),
      dispatcher_(groups, options.model.num_local_experts()),
      moe_layer_(router_, dispatcher_, options.recompute,
                 options.max_expert_rows),
      block_(options.model, attention_, moe_layer_),
      balancing_(options.model, options.router, groups) {}

absl::Status LanguageModel::Forward(Pass& pass, LossTerms* losses,
                                    const MicroBatch& batch,
                                    const ModelWeights& weights,
                                    ModelWeights* gradients) const {
  LayerContext context = ContextOf(pass);
  RETURN_IF_ERROR(RunBlocks(pass, context, batch, weights));
  PhaseScope phase(Phase::kAuxiliaryLosses);
  SumOverRouters(pass);
  phase.Enter(Phase::kHead);
  ASSIGN_OR_RETURN(const Tensor normed_TD, FinalNorm(pass, context, weights));
  RETURN_IF_ERROR(AddHeadLoss(pass, context, normed_TD, weights, gradients));
  RETURN_IF_ERROR(ReadNumbers(pass, losses));
  phase.Enter(Phase::kAuxiliaryLosses);
  RETURN_IF_ERROR(balancing_.Finish(context, pass.balance, &losses->aux,
                                    batch.scale, batch.length));
  return kernels_.status();
}

absl::Status LanguageModel::Backward(Pass& pass, const ModelWeights& weights,
                                     ModelWeights& gradients,
                                     GradientListener* listener) const {
  CHECK(pass.has_gradient);
  LayerContext context = ContextOf(pass);
  ArenaScope scope(pass.scratch);
  ASSIGN_OR_RETURN(Tensor d_x_TD, pass.scratch.Allocate(
                                      {pass.out_TD.dim(0), pass.out_TD.dim(1)},
                                      DType::kFloat32));
  kernels_.SetZero(d_x_TD);
  kernels_.RmsNormBackward(d_x_TD, gradients.norm_D, pass.d_normed_TD,
                           pass.out_TD, weights.norm_D, pass.inverse_rms_T);
  RETURN_IF_ERROR(Tell(listener, table_.head()));
  Show(context, TensorKind::kFinalNormGradient, d_x_TD);
  for (int layer = num_layers() - 1;
       layer >= 0 && NeedsBackward(table_.moe(layer)); --layer) {
    LayerContext of_layer = InLayer(context, layer);
    RETURN_IF_ERROR(BackwardThroughBlock(pass, of_layer, d_x_TD, layer, weights,
                                         gradients, listener));
  }
  if (!NeedsBackward(table_.embedding())) {
    pass.Empty();
    return kernels_.status();
  }
  const PhaseScope phase(Phase::kEmbeddingBackward);
  RETURN_IF_ERROR(tensor_.EmbeddingBackward(context, gradients.embedding_VD,
                                            d_x_TD, pass.batch.inputs_S,
                                            gradients.first_id));
  pass.Empty();
  RETURN_IF_ERROR(Tell(listener, table_.embedding()));
  return kernels_.status();
}

absl::Status LanguageModel::Logits(Pass& pass, Tensor logits_RV,
                                   const Tensor& inputs_S, int64_t length,
                                   int64_t first_row,
                                   const ModelWeights& weights) const {
  LayerContext context = ContextOf(pass);
  RETURN_IF_ERROR(RunBlocks(pass, context,
                            {.inputs_S = inputs_S,
                             .targets_S = {},
                             .length = length,
                             .positions_S = {},
                             .scale = {}},
                            weights));
  ASSIGN_OR_RETURN(const Tensor normed_TD, FinalNorm(pass, context, weights));
  ASSIGN_OR_RETURN(const Tensor normed_SD,
                   tensor_.Gather(context, pass.saved, normed_TD));
  kernels_.LinearForward(logits_RV, normed_SD.Rows(first_row, logits_RV.dim(0)),
                         weights.head_VD, /*accumulate=*/false);
  pass.Empty();
  return kernels_.status();
}

LayerContext LanguageModel::ContextOf(Pass& pass) const {
  LayerContext context = RecomputeContextOf(pass);
  if (options_.recompute == Recompute::kBlock) context.routing = &pass.routing;
  context.observer = pass.observer;
  return context;
}

LayerContext LanguageModel::RecomputeContextOf(Pass& pass) const {
  return {.kernels = kernels_,
          .saved = pass.saved,
          .scratch = pass.scratch,
          .compute_dtype = options_.compute_dtype};
}

BatchShape LanguageModel::ShapeOf(const MicroBatch& batch) const {
  const Tensor& inputs_S = batch.inputs_S;
  const Tensor& positions_S = batch.positions_S;
  CHECK(batch.length > 0 && batch.length <= options_.max_length);
  CHECK(inputs_S.size() % batch.length == 0);
  CHECK(inputs_S.size() % tensor_.size() == 0);
  CHECK(positions_S.is_null() || positions_S.size() == inputs_S.size());
  return {.length = batch.length,
          .num_sequences = inputs_S.size() / batch.length,
          .first_token = inputs_S.size() / tensor_.size() * tensor_.rank(),
          .positions_S = positions_S};
}

absl::Status LanguageModel::RunBlocks(Pass& pass, LayerContext& context,
                                      const MicroBatch& batch,
                                      const ModelWeights& weights) const {
  const PhaseScope phase(Phase::kEmbedding);
  pass.Begin(batch, num_layers());
  const BatchShape shape = ShapeOf(batch);
  RETURN_IF_ERROR(AllocateNumbers(pass, shape.num_sequences,
                                  options_.model.num_local_experts()));
  ASSIGN_OR_RETURN(Tensor x_TD,
                   pass.saved.Allocate({batch.inputs_S.size() / tensor_.size(),
                                        options_.model.hidden_size()},
                                       DType::kFloat32));
  RETURN_IF_ERROR(tensor_.EmbeddingForward(
      context, x_TD, batch.inputs_S, weights.embedding_VD, weights.first_id));
  Show(context, TensorKind::kEmbedding, x_TD);
  for (size_t layer = 0; layer < pass.blocks.size(); ++layer) {
    const PhaseScope in_layer(Phase::kBlock, static_cast<int>(layer));
    LayerContext of_layer = InLayer(context, static_cast<int>(layer));
    ASSIGN_OR_RETURN(
        Tensor out_TD,
        pass.saved.Allocate({x_TD.dim(0), x_TD.dim(1)}, DType::kFloat32));
    const Arena::Mark before = pass.saved.mark();
    RETURN_IF_ERROR(
        Annotate(block_.Forward(of_layer, out_TD, pass.blocks[layer],
                                pass.routings[layer], x_TD,
                                weights.layers[layer], shape),
                 absl::StrCat("layer ", layer)));
    if (options_.recompute == Recompute::kBlock) pass.saved.Release(before);
    x_TD = out_TD;
  }
  pass.out_TD = x_TD;
  return absl::OkStatus();
}

void LanguageModel::SumOverRouters(const Pass& pass) const {
  for (int64_t layer = 0; layer < num_layers(); ++layer) {
    const Routing& routing = pass.routings[static_cast<size_t>(layer)];
    kernels_.SumOfSquares(pass.numbers.z(layer), routing.log_sum_exp_T);
    kernels_.SumOfFirstChoices(pass.numbers.first_choices(layer),
                               routing.probabilities_TE, routing.expert_ids_TK);
  }
}

absl::Status LanguageModel::ReadNumbers(Pass& pass, LossTerms* losses) const {
  const PassNumbers& numbers = pass.numbers;
  ASSIGN_OR_RETURN(HostCopy copy,
                   kernels_.context().StartCopy(numbers.all.View()));
  RETURN_IF_ERROR(copy.Wait());
  const absl::Span<const double> values = copy.values<double>();
  losses->cross_entropy += values[0] / NumTargets(pass);
  const double tokens = static_cast<double>(pass.batch.scale.global_tokens);
  const size_t layers = pass.routings.size();
  for (size_t layer = 0; layer < layers; ++layer) {
    pass.z_losses[layer] = values[1 + layer] / tokens;
    losses->z += pass.z_losses[layer];
    pass.first_choice_sums[layer] = values[1 + layers + layer];
  }
  const auto num_loads = static_cast<size_t>(numbers.load_L2BE.size());
  pass.balance.load.resize(num_loads);
  if (num_loads > 0) {
    std::memcpy(pass.balance.load.data(), values.data() + numbers.num_sums(),
                num_loads * sizeof(float));
  }
  return absl::OkStatus();
}

absl::StatusOr<Tensor> LanguageModel::FinalNorm(
    Pass& pass, LayerContext& context, const ModelWeights& weights) const {
  const int64_t T = pass.out_TD.dim(0);
  ASSIGN_OR_RETURN(
      Tensor normed_TD,
      pass.saved.Allocate({T, pass.out_TD.dim(1)}, options_.compute_dtype));
  ASSIGN_OR_RETURN(pass.inverse_rms_T,
                   pass.saved.Allocate({T}, DType::kFloat32));
  kernels_.RmsNormForward(normed_TD, pass.inverse_rms_T, pass.out_TD,
                          weights.norm_D,
                          static_cast<float>(options_.model.rms_norm_eps()));
  Show(context, TensorKind::kFinalNorm, normed_TD);
  return normed_TD;
}

absl::Status LanguageModel::AddHeadLoss(Pass& pass, LayerContext& context,
                                        const Tensor& normed_TD,
                                        const ModelWeights& weights,
                                        ModelWeights* gradients) const {
  LossHeadArguments head = {
      .x_TD = normed_TD,
      .w_VD = weights.head_VD,
      .first_id = weights.first_id,
      .targets_S = pass.batch.targets_S,
      .scale = static_cast<float>(1.0 / NumTargets(pass))};
  if (gradients != nullptr) {
    ASSIGN_OR_RETURN(head.d_x_TD,
                     pass.saved.Allocate({normed_TD.dim(0), normed_TD.dim(1)},
                                         options_.compute_dtype));
    head.d_w_VD = gradients->head_VD;
  }
  pass.d_normed_TD = head.d_x_TD;
  pass.has_gradient = gradients != nullptr;
  const Tensor loss_1 = pass.numbers.cross_entropy();
  kernels_.SetZero(loss_1);  // is added to
  return LossHead(context, tensor_, loss_1, head, options_.model.vocab_size());
}

absl::Status LanguageModel::BackwardThroughBlock(
    Pass& pass, LayerContext& context, Tensor d_x_TD, int layer,
    const ModelWeights& weights, ModelWeights& gradients,
    GradientListener* listener) const {
  const size_t i = static_cast<size_t>(layer);
  const PhaseScope phase(Phase::kBlockBackward, layer);
  const BatchShape shape = ShapeOf(pass.batch);
  ArenaScope again(pass.saved);
  if (options_.recompute == Recompute::kBlock) {
    LayerContext recompute = InLayer(RecomputeContextOf(pass), layer);
    RETURN_IF_ERROR(block_.RecomputeForward(recompute, pass.blocks[i],
                                            weights.layers[i], shape));
  }
  const RouterLossGradients losses = {
      .balance_BE = pass.balance.gradients_BE[i],
      .z_scale = static_cast<float>(
          options_.router.z_loss_coefficient() /
          static_cast<double>(pass.batch.scale.global_tokens))};
  RETURN_IF_ERROR(block_.BackwardFeedForward(
      context, d_x_TD, gradients.layers[i], losses, pass.blocks[i],
      pass.routings[i], weights.layers[i], shape));
  RETURN_IF_ERROR(Tell(listener, table_.moe(layer)));
  Show(context, TensorKind::kExpertsGradient, d_x_TD);
  if (!NeedsBackward(table_.attention(layer))) return absl::OkStatus();
  RETURN_IF_ERROR(block_.BackwardAttention(context, d_x_TD, gradients.layers[i],
                                           pass.blocks[i], weights.layers[i],
                                           shape));
  RETURN_IF_ERROR(Tell(listener, table_.attention(layer)));
  Show(context, TensorKind::kAttentionGradient, d_x_TD);
  return absl::OkStatus();
}

}  // namespace moe
