#include "moe/loss_head.h"

#include <algorithm>

#include "comm/status_macros.h"

// Letters: t ranks of the tensor group, n of this rank's tokens in a chunk, N =
// t n tokens of the chunk, V this rank's slice of the vocabulary.

namespace moe {
namespace {

// Statistics of whole rows of logits, from those of each rank's slice.
absl::StatusOr<Tensor> WholeStatistics(LayerContext& context,
                                       const TensorParallel& tensor,
                                       const Tensor& logits_NV,
                                       const Tensor& targets_N,
                                       int64_t first_id) {
  const int64_t N = logits_NV.dim(0);
  ASSIGN_OR_RETURN(Tensor statistics_N3,
                   context.scratch.Allocate({N, 3}, DType::kFloat32));
  LogitStatistics(context.kernels, statistics_N3, logits_NV, targets_N,
                  first_id);
  if (tensor.size() == 1) return statistics_N3;
  ASSIGN_OR_RETURN(Tensor slices,
                   tensor.Gather(context, context.scratch, statistics_N3));
  MergeLogitStatistics(context.kernels, statistics_N3,
                       slices.Reshape({tensor.size(), N, 3}));
  return statistics_N3;
}

// One chunk: x_nD, targets_n and d_x_nD are of this rank's tokens.
absl::Status LossChunk(LayerContext& context, const TensorParallel& tensor,
                       double* loss_sum, const LossHeadArguments& chunk) {
  ArenaScope scope(context.scratch);
  ASSIGN_OR_RETURN(const Tensor x_ND,
                   tensor.Gather(context, context.scratch, chunk.x_TD));
  ASSIGN_OR_RETURN(const Tensor targets_N,
                   tensor.Gather(context, context.scratch, chunk.targets_T));
  const int64_t N = x_ND.dim(0);
  const int64_t V = chunk.w_VD.dim(0);
  ASSIGN_OR_RETURN(Tensor logits_NV,
                   context.scratch.Allocate({N, V}, DType::kFloat32));
  LinearForward(context.kernels, logits_NV, x_ND, chunk.w_VD);
  Show(context, TensorKind::kLogits, logits_NV);
  ASSIGN_OR_RETURN(
      const Tensor statistics_N3,
      WholeStatistics(context, tensor, logits_NV, targets_N, chunk.first_id));
  const int64_t n = chunk.x_TD.dim(0);
  CrossEntropyLoss(context.kernels, loss_sum,
                   statistics_N3.Rows(tensor.rank() * n, n), chunk.targets_T);
  if (chunk.d_x_TD.is_null()) return absl::OkStatus();

  Tensor d_logits_NV = logits_NV;  // in its place
  if (context.compute_dtype != DType::kFloat32) {
    ASSIGN_OR_RETURN(d_logits_NV,
                     context.scratch.Allocate({N, V}, context.compute_dtype));
  }
  CrossEntropyGradient(context.kernels, d_logits_NV, logits_NV, statistics_N3,
                       targets_N, chunk.first_id, chunk.scale);
  LinearWeightGradient(context.kernels, chunk.d_w_VD, d_logits_NV, x_ND);
  return tensor.LinearInputGradient(context, chunk.d_x_TD, d_logits_NV,
                                    chunk.w_VD);
}

}  // namespace

int64_t LossChunkRows(int64_t vocab_size) {
  return std::clamp<int64_t>((int64_t{1} << 22) / vocab_size, 64, 1024);
}

absl::Status LossHead(LayerContext& context, const TensorParallel& tensor,
                      double* loss_sum, const LossHeadArguments& arguments,
                      int64_t vocab_size) {
  const int64_t T = arguments.x_TD.dim(0);
  const int64_t most = LossChunkRows(vocab_size);
  for (int64_t begin = 0; begin < T; begin += most) {
    const int64_t rows = std::min(most, T - begin);
    LossHeadArguments chunk = arguments;
    chunk.x_TD = arguments.x_TD.Rows(begin, rows);
    chunk.targets_T = arguments.targets_T.Rows(begin, rows);
    if (!arguments.d_x_TD.is_null())
      chunk.d_x_TD = arguments.d_x_TD.Rows(begin, rows);
    RETURN_IF_ERROR(LossChunk(context, tensor, loss_sum, chunk));
  }
  return absl::OkStatus();
}

}  // namespace moe
