#include "moe/layers/loss_head.h"

#include <algorithm>

#include "comm/base/status_macros.h"

// Letters: t ranks of the tensor group, S tokens of theirs, T of this rank, n
// of each rank's tokens in a chunk, N = t n tokens of the chunk, V this rank's
// slice of the vocabulary.

namespace moe {
namespace {

// A chunk's part of each rank's tokens.
struct Chunk {
  int64_t begin = 0;  // of T
  int64_t n = 0;

  // Of the tokens of `rank`, in a tensor of all the chunk's.
  Tensor Part(const Tensor& x_N, int rank) const {
    return x_N.Rows(rank * n, n);
  }
  Tensor Targets(const LossHeadArguments& arguments, int rank) const {
    return arguments.targets_S.Rows(rank * arguments.x_TD.dim(0) + begin, n);
  }
};

// Statistics of whole rows of logits, from those of each rank's slice.
absl::StatusOr<Tensor> WholeStatistics(LayerContext& context,
                                       const TensorParallel& tensor,
                                       const Tensor& logits_NV,
                                       const LossHeadArguments& arguments,
                                       const Chunk& chunk) {
  const int64_t N = logits_NV.dim(0);
  ASSIGN_OR_RETURN(Tensor statistics_N3,
                   context.scratch.Allocate({N, 3}, DType::kFloat32));
  for (int rank = 0; rank < tensor.size(); ++rank) {
    context.kernels.LogitStatistics(
        chunk.Part(statistics_N3, rank), chunk.Part(logits_NV, rank),
        chunk.Targets(arguments, rank), arguments.first_id);
  }
  if (tensor.size() == 1) return statistics_N3;
  ASSIGN_OR_RETURN(Tensor slices,
                   tensor.Gather(context, context.scratch, statistics_N3));
  context.kernels.MergeLogitStatistics(statistics_N3,
                                       slices.Reshape({tensor.size(), N, 3}));
  return statistics_N3;
}

absl::Status LossChunk(LayerContext& context, const TensorParallel& tensor,
                       Tensor loss_1, const LossHeadArguments& arguments,
                       const Chunk& chunk) {
  ArenaScope scope(context.scratch);
  ASSIGN_OR_RETURN(const Tensor x_ND,
                   tensor.Gather(context, context.scratch,
                                 arguments.x_TD.Rows(chunk.begin, chunk.n)));
  const int64_t N = x_ND.dim(0);
  const int64_t V = arguments.w_VD.dim(0);
  ASSIGN_OR_RETURN(Tensor logits_NV,
                   context.scratch.Allocate({N, V}, DType::kFloat32));
  context.kernels.LinearForward(logits_NV, x_ND, arguments.w_VD,
                                /*accumulate=*/false);
  Show(context, TensorKind::kLogits, logits_NV);
  ASSIGN_OR_RETURN(
      const Tensor statistics_N3,
      WholeStatistics(context, tensor, logits_NV, arguments, chunk));
  context.kernels.CrossEntropyLoss(loss_1,
                                   chunk.Part(statistics_N3, tensor.rank()),
                                   chunk.Targets(arguments, tensor.rank()));
  if (arguments.d_x_TD.is_null()) return absl::OkStatus();

  Tensor d_logits_NV = logits_NV;  // in its place
  if (context.compute_dtype != DType::kFloat32) {
    ASSIGN_OR_RETURN(d_logits_NV,
                     context.scratch.Allocate({N, V}, context.compute_dtype));
  }
  for (int rank = 0; rank < tensor.size(); ++rank) {
    context.kernels.CrossEntropyGradient(
        chunk.Part(d_logits_NV, rank), chunk.Part(logits_NV, rank),
        chunk.Part(statistics_N3, rank), chunk.Targets(arguments, rank),
        arguments.first_id, arguments.scale);
  }
  if (!arguments.d_w_VD.is_null())
    context.kernels.LinearWeightGradient(arguments.d_w_VD, d_logits_NV, x_ND);
  return tensor.LinearInputGradient(context,
                                    arguments.d_x_TD.Rows(chunk.begin, chunk.n),
                                    d_logits_NV, arguments.w_VD);
}

}  // namespace

int64_t LossChunkRows(int64_t vocab_size) {
  return std::clamp<int64_t>((int64_t{1} << 22) / vocab_size, 64, 1024);
}

absl::Status LossHead(LayerContext& context, const TensorParallel& tensor,
                      Tensor loss_1, const LossHeadArguments& arguments,
                      int64_t vocab_size) {
  const int64_t T = arguments.x_TD.dim(0);
  const int64_t most = LossChunkRows(vocab_size);
  for (int64_t begin = 0; begin < T; begin += most) {
    RETURN_IF_ERROR(
        LossChunk(context, tensor, loss_1, arguments,
                  {.begin = begin, .n = std::min(most, T - begin)}));
  }
  return absl::OkStatus();
}

}  // namespace moe
