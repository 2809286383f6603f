#include "moe/layers/attention.h"

#include "comm/base/status_macros.h"

namespace moe {

AttentionShape Attention::WithLength(int64_t length) const {
  AttentionShape shape = shape_;
  shape.length = length;
  return shape;
}

absl::Status Attention::Forward(LayerContext& context, Tensor out_TD,
                                AttentionSaved& saved, const Tensor& x_TD,
                                const LayerWeights& weights,
                                const BatchShape& batch) const {
  const AttentionShape shape = WithLength(batch.length);
  ArenaScope scope(context.scratch);
  ASSIGN_OR_RETURN(const Tensor x_SD,
                   tensor_.Gather(context, context.scratch, x_TD));
  const int64_t S = x_SD.dim(0);
  const int64_t A = shape.heads * shape.head_dim;
  const int64_t C = A + 2 * shape.kv_heads * shape.head_dim;
  const DType dtype = context.compute_dtype;
  ASSIGN_OR_RETURN(saved.qkv_SC, context.saved.Allocate({S, C}, dtype));
  ASSIGN_OR_RETURN(saved.y_SA, context.saved.Allocate({S, A}, dtype));
  ASSIGN_OR_RETURN(saved.log_sum_exp_HS,
                   context.saved.Allocate({shape.heads, S}, DType::kFloat32));

  context.kernels.LinearForward(saved.qkv_SC, x_SD, weights.qkv_CD,
                                /*accumulate=*/false);
  context.kernels.Rotary(saved.qkv_SC, rotary_table_L2h_, batch.positions_S,
                         shape, /*inverse=*/false);
  Show(context, TensorKind::kQueryKeyValue, saved.qkv_SC);
  context.kernels.AttentionForward(saved.y_SA, saved.log_sum_exp_HS,
                                   saved.qkv_SC, batch.positions_S, shape);
  Show(context, TensorKind::kAttentionHeads, saved.y_SA);
  RETURN_IF_ERROR(tensor_.LinearForward(context, out_TD, saved.y_SA,
                                        weights.o_DA, /*accumulate=*/true,
                                        TensorKind::kAttentionPart));
  Show(context, TensorKind::kAttentionOutput, out_TD);
  return absl::OkStatus();
}

// x, which the block norms again, is gathered again too: kept, it would take as
// much as the sequence parallel layers save.
absl::Status Attention::Backward(LayerContext& context, Tensor d_x_TD,
                                 LayerWeights& gradients,
                                 const Tensor& d_out_TD, const Tensor& x_TD,
                                 const AttentionSaved& saved,
                                 const LayerWeights& weights,
                                 const BatchShape& batch) const {
  const AttentionShape shape = WithLength(batch.length);
  ArenaScope scope(context.scratch);
  ASSIGN_OR_RETURN(const Tensor d_out_SD,
                   tensor_.Gather(context, context.scratch, d_out_TD));
  Tensor x_SD;  // for the weights' gradient alone
  if (!gradients.qkv_CD.is_null()) {
    ASSIGN_OR_RETURN(x_SD, tensor_.Gather(context, context.scratch, x_TD));
  }
  const int64_t S = d_out_SD.dim(0);
  const DType dtype = context.compute_dtype;
  ASSIGN_OR_RETURN(Tensor d_y_SA,
                   context.scratch.Allocate({S, saved.y_SA.dim(1)}, dtype));
  ASSIGN_OR_RETURN(Tensor d_qkv_SC,
                   context.scratch.Allocate({S, saved.qkv_SC.dim(1)}, dtype));

  if (!gradients.o_DA.is_null())
    context.kernels.LinearWeightGradient(gradients.o_DA, d_out_SD, saved.y_SA);
  context.kernels.LinearInputGradient(d_y_SA, d_out_SD, weights.o_DA,
                                      /*accumulate=*/false);
  context.kernels.AttentionBackward(d_qkv_SC, d_y_SA, saved.qkv_SC, saved.y_SA,
                                    saved.log_sum_exp_HS, batch.positions_S,
                                    shape);
  context.kernels.Rotary(d_qkv_SC, rotary_table_L2h_, batch.positions_S, shape,
                         /*inverse=*/true);
  if (!gradients.qkv_CD.is_null())
    context.kernels.LinearWeightGradient(gradients.qkv_CD, d_qkv_SC, x_SD);
  return tensor_.LinearInputGradient(context, d_x_TD, d_qkv_SC, weights.qkv_CD);
}

}  // namespace moe
