#include "moe/layers/experts.h"

#include "comm/base/status_macros.h"

namespace moe {
namespace {

// Each expert's rows.
void ShowEach(const LayerContext& context, TensorKind kind, const Tensor& x,
              absl::Span<const int64_t> offsets) {
  if (context.observer == nullptr) return;
  for (size_t i = 0; i + 1 < offsets.size(); ++i)
    Show(context, kind, x.Rows(offsets[i], offsets[i + 1] - offsets[i]),
         static_cast<int>(i));
}

}  // namespace

absl::Status ExpertsGateUp(LayerContext& context, ExpertsSaved& saved,
                           const LayerWeights& weights,
                           absl::Span<const int64_t> offsets) {
  const int64_t R = saved.rows_RD.dim(0);
  const int64_t F = weights.down_eDF.dim(2);
  ASSIGN_OR_RETURN(saved.gate_up_R2F,
                   context.saved.Allocate({R, 2 * F}, context.compute_dtype));
  context.kernels.GroupedLinearForward(saved.gate_up_R2F, saved.rows_RD,
                                       weights.gate_up_eGD, offsets);
  ShowEach(context, TensorKind::kExpertGateUp, saved.gate_up_R2F, offsets);
  return absl::OkStatus();
}

absl::Status ExpertsForward(LayerContext& context, Tensor& out_RD,
                            ExpertsSaved& saved, const LayerWeights& weights,
                            absl::Span<const int64_t> offsets) {
  RETURN_IF_ERROR(ExpertsGateUp(context, saved, weights, offsets));
  const int64_t R = saved.rows_RD.dim(0);
  const DType dtype = context.compute_dtype;
  ASSIGN_OR_RETURN(out_RD,
                   context.scratch.Allocate({R, saved.rows_RD.dim(1)}, dtype));
  ArenaScope scope(context.scratch);
  ASSIGN_OR_RETURN(
      const Tensor hidden_RF,
      context.scratch.Allocate({R, weights.down_eDF.dim(2)}, dtype));
  context.kernels.SwiGluForward(hidden_RF, saved.gate_up_R2F, saved.weight_R);
  ShowEach(context, TensorKind::kExpertHidden, hidden_RF, offsets);
  context.kernels.GroupedLinearForward(out_RD, hidden_RF, weights.down_eDF,
                                       offsets);
  ShowEach(context, TensorKind::kExpertOutput, out_RD, offsets);
  return absl::OkStatus();
}

absl::Status ExpertsInputGradients(LayerContext& context, Tensor& d_rows_RD,
                                   Tensor& d_weight_R, Tensor& hidden_RF,
                                   const Tensor& d_out_RD,
                                   const ExpertsSaved& saved,
                                   const LayerWeights& weights,
                                   absl::Span<const int64_t> offsets) {
  const int64_t R = saved.rows_RD.dim(0);
  const int64_t D = saved.rows_RD.dim(1);
  const int64_t F = weights.down_eDF.dim(2);
  const DType dtype = context.compute_dtype;
  ASSIGN_OR_RETURN(d_rows_RD, context.scratch.Allocate({R, D}, dtype));
  ASSIGN_OR_RETURN(d_weight_R, context.scratch.Allocate({R}, DType::kFloat32));
  ASSIGN_OR_RETURN(hidden_RF, context.scratch.Allocate({R, F}, dtype));

  // SwiGluBackward overwrites d_hidden by hidden, gate_up by d_gate_up.
  const Tensor& d_hidden_RF = hidden_RF;
  const Tensor& d_gate_up_R2F = saved.gate_up_R2F;
  context.kernels.GroupedLinearInputGradient(d_hidden_RF, d_out_RD,
                                             weights.down_eDF, offsets);
  context.kernels.SwiGluBackward(d_gate_up_R2F, d_weight_R, hidden_RF,
                                 d_hidden_RF, saved.gate_up_R2F,
                                 saved.weight_R);
  context.kernels.GroupedLinearInputGradient(d_rows_RD, d_gate_up_R2F,
                                             weights.gate_up_eGD, offsets);
  return absl::OkStatus();
}

void ExpertsWeightGradients(LayerContext& context, LayerWeights& gradients,
                            const Tensor& d_out_RD, const Tensor& hidden_RF,
                            const ExpertsSaved& saved,
                            absl::Span<const int64_t> offsets) {
  if (!gradients.down_eDF.is_null()) {
    context.kernels.GroupedLinearWeightGradient(gradients.down_eDF, d_out_RD,
                                                hidden_RF, offsets);
  }
  if (gradients.gate_up_eGD.is_null()) return;
  const Tensor& d_gate_up_R2F = saved.gate_up_R2F;
  context.kernels.GroupedLinearWeightGradient(
      gradients.gate_up_eGD, d_gate_up_R2F, saved.rows_RD, offsets);
}

}  // namespace moe
