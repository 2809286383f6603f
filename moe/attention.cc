#include "moe/attention.h"

#include "comm/status_macros.h"

namespace moe {

AttentionShape Attention::WithLength(int64_t length) const {
  AttentionShape shape = shape_;
  shape.length = length;
  return shape;
}

absl::Status Attention::Forward(LayerContext& context, Tensor out_TD,
                                AttentionSaved& saved, const Tensor& x_TD,
                                const LayerWeights& weights,
                                int64_t length) const {
  const AttentionShape shape = WithLength(length);
  const int64_t T = x_TD.dim(0);
  const int64_t A = shape.heads * shape.head_dim;
  const int64_t C = A + 2 * shape.kv_heads * shape.head_dim;
  const DType dtype = context.compute_dtype;
  ASSIGN_OR_RETURN(saved.qkv_TC, context.saved.Allocate({T, C}, dtype));
  ASSIGN_OR_RETURN(saved.y_TA, context.saved.Allocate({T, A}, dtype));
  ASSIGN_OR_RETURN(saved.log_sum_exp_HT,
                   context.saved.Allocate({shape.heads, T}, DType::kFloat32));

  LinearForward(context.kernels, saved.qkv_TC, x_TD, weights.qkv_CD);
  Rotary(context.kernels, saved.qkv_TC, rotary_table_L2h_, shape,
         /*inverse=*/false);
  AttentionForward(context.kernels, saved.y_TA, saved.log_sum_exp_HT,
                   saved.qkv_TC, shape);
  LinearForward(context.kernels, out_TD, saved.y_TA, weights.o_DA,
                /*accumulate=*/true);
  return absl::OkStatus();
}

absl::Status Attention::Backward(LayerContext& context, Tensor d_x_TD,
                                 LayerWeights& gradients,
                                 const Tensor& d_out_TD, const Tensor& x_TD,
                                 const AttentionSaved& saved,
                                 const LayerWeights& weights,
                                 int64_t length) const {
  const AttentionShape shape = WithLength(length);
  ArenaScope scope(context.scratch);
  const int64_t T = x_TD.dim(0);
  const DType dtype = context.compute_dtype;
  ASSIGN_OR_RETURN(Tensor d_y_TA,
                   context.scratch.Allocate({T, saved.y_TA.dim(1)}, dtype));
  ASSIGN_OR_RETURN(Tensor d_qkv_TC,
                   context.scratch.Allocate({T, saved.qkv_TC.dim(1)}, dtype));

  LinearWeightGradient(context.kernels, gradients.o_DA, d_out_TD, saved.y_TA);
  LinearInputGradient(context.kernels, d_y_TA, d_out_TD, weights.o_DA);
  AttentionBackward(context.kernels, d_qkv_TC, d_y_TA, saved.qkv_TC, saved.y_TA,
                    saved.log_sum_exp_HT, shape);
  Rotary(context.kernels, d_qkv_TC, rotary_table_L2h_, shape,
         /*inverse=*/true);
  LinearWeightGradient(context.kernels, gradients.qkv_CD, d_qkv_TC, x_TD);
  LinearInputGradient(context.kernels, d_x_TD, d_qkv_TC, weights.qkv_CD);
  return absl::OkStatus();
}

}  // namespace moe
