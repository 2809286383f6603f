#include "moe/loss_head.h"

#include <algorithm>

#include "comm/status_macros.h"

namespace moe {

int64_t LossChunkRows(int64_t vocab_size) {
  return std::clamp<int64_t>((int64_t{1} << 22) / vocab_size, 64, 1024);
}

absl::Status LossHead(LayerContext& context, double* loss_sum, Tensor d_x_TD,
                      Tensor d_w_VD, const Tensor& x_TD, const Tensor& w_VD,
                      const Tensor& targets_T, float scale) {
  ArenaScope scope(context.scratch);
  const int64_t T = x_TD.dim(0);
  const int64_t V = w_VD.dim(0);
  const int64_t chunk = std::min(T, LossChunkRows(V));
  const bool training = !d_x_TD.is_null();
  ASSIGN_OR_RETURN(Tensor logits_TV,
                   context.scratch.Allocate({chunk, V}, DType::kFloat32));
  Tensor d_logits_TV = logits_TV;
  if (context.compute_dtype != DType::kFloat32) {
    ASSIGN_OR_RETURN(d_logits_TV, context.scratch.Allocate(
                                      {chunk, V}, context.compute_dtype));
  }
  for (int64_t begin = 0; begin < T; begin += chunk) {
    const int64_t rows = std::min(chunk, T - begin);
    const Tensor x = x_TD.Rows(begin, rows);
    const Tensor z = logits_TV.Rows(0, rows);
    const Tensor d_z = training ? d_logits_TV.Rows(0, rows) : Tensor();
    LinearForward(context.kernels, z, x, w_VD);
    CrossEntropy(context.kernels, d_z, loss_sum, z, targets_T.Rows(begin, rows),
                 scale);
    if (!training) continue;
    LinearWeightGradient(context.kernels, d_w_VD, d_z, x);
    LinearInputGradient(context.kernels, d_x_TD.Rows(begin, rows), d_z, w_VD);
  }
  return absl::OkStatus();
}

}  // namespace moe
