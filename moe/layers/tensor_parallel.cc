#include "moe/layers/tensor_parallel.h"

#include "comm/base/status_macros.h"

namespace moe {

absl::StatusOr<Tensor> TensorParallel::Gather(LayerContext& context,
                                              Arena& arena,
                                              const Tensor& x_TD) const {
  if (size() == 1) return x_TD;
  RETURN_IF_ERROR(context.kernels.status());
  const int64_t S = size() * x_TD.dim(0);
  Tensor all_SD;
  if (x_TD.rank() == 1) {
    ASSIGN_OR_RETURN(all_SD, arena.Allocate({S}, x_TD.dtype()));
  } else {
    ASSIGN_OR_RETURN(all_SD, arena.Allocate({S, x_TD.dim(1)}, x_TD.dtype()));
  }
  RETURN_IF_ERROR(Annotate(group_.AllGather(x_TD.View(), all_SD.View()),
                           "gathering the tensor group's tokens"));
  return all_SD;
}

absl::Status TensorParallel::ScatterSum(LayerContext& context, Tensor y_TD,
                                        const Tensor& partial_SD,
                                        bool accumulate) const {
  RETURN_IF_ERROR(context.kernels.status());
  const int64_t T = y_TD.dim(0);
  const int64_t D = y_TD.dim(1);
  ArenaScope scope(context.scratch);
  Tensor sum_TD = y_TD;
  if (accumulate || y_TD.dtype() != DType::kFloat32) {
    ASSIGN_OR_RETURN(sum_TD, context.scratch.Allocate({T, D}, DType::kFloat32));
  }
  RETURN_IF_ERROR(
      Annotate(group_.ReduceScatter(partial_SD.View(), sum_TD.View()),
               "sum over the tensor group"));
  if (accumulate) {
    context.kernels.Add(y_TD, sum_TD);
  } else if (sum_TD.raw() != y_TD.raw()) {
    context.kernels.Convert(y_TD, sum_TD);
  }
  return absl::OkStatus();
}

absl::Status TensorParallel::LinearForward(LayerContext& context, Tensor y_TO,
                                           const Tensor& x_SI,
                                           const Tensor& w_OI, bool accumulate,
                                           TensorKind part) const {
  if (size() == 1) {
    context.kernels.LinearForward(y_TO, x_SI, w_OI, accumulate);
    return absl::OkStatus();
  }
  ArenaScope scope(context.scratch);
  ASSIGN_OR_RETURN(
      Tensor partial_SO,
      context.scratch.Allocate({x_SI.dim(0), y_TO.dim(1)}, DType::kFloat32));
  context.kernels.LinearForward(partial_SO, x_SI, w_OI, /*accumulate=*/false);
  Show(context, part, partial_SO);
  return ScatterSum(context, y_TO, partial_SO, accumulate);
}

absl::Status TensorParallel::LinearInputGradient(LayerContext& context,
                                                 Tensor d_x_TI,
                                                 const Tensor& d_y_SO,
                                                 const Tensor& w_OI) const {
  if (size() == 1) {
    context.kernels.LinearInputGradient(d_x_TI, d_y_SO, w_OI,
                                        /*accumulate=*/false);
    return absl::OkStatus();
  }
  ArenaScope scope(context.scratch);
  ASSIGN_OR_RETURN(Tensor partial_SI,
                   context.scratch.Allocate({d_y_SO.dim(0), d_x_TI.dim(1)},
                                            DType::kFloat32));
  context.kernels.LinearInputGradient(partial_SI, d_y_SO, w_OI,
                                      /*accumulate=*/false);
  return ScatterSum(context, d_x_TI, partial_SI, /*accumulate=*/false);
}

absl::Status TensorParallel::EmbeddingForward(LayerContext& context,
                                              Tensor x_TD, const Tensor& ids_S,
                                              const Tensor& w_VD,
                                              int64_t first_id) const {
  if (size() == 1) {
    context.kernels.EmbeddingForward(x_TD, ids_S, w_VD, first_id);
    return absl::OkStatus();
  }
  ArenaScope scope(context.scratch);
  ASSIGN_OR_RETURN(
      Tensor partial_SD,
      context.scratch.Allocate({ids_S.dim(0), x_TD.dim(1)}, DType::kFloat32));
  context.kernels.EmbeddingForward(partial_SD, ids_S, w_VD, first_id);
  Show(context, TensorKind::kEmbeddingPart, partial_SD);
  return ScatterSum(context, x_TD, partial_SD, /*accumulate=*/false);
}

absl::Status TensorParallel::EmbeddingBackward(LayerContext& context,
                                               Tensor d_w_VD,
                                               const Tensor& d_x_TD,
                                               const Tensor& ids_S,
                                               int64_t first_id) const {
  ArenaScope scope(context.scratch);
  ASSIGN_OR_RETURN(Tensor d_x_SD, Gather(context, context.scratch, d_x_TD));
  context.kernels.EmbeddingBackward(d_w_VD, d_x_SD, ids_S, first_id);
  return absl::OkStatus();
}

}  // namespace moe
