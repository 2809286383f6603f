#include "moe/layers/layer_context.h"

#include "comm/base/status_macros.h"

namespace moe {

absl::StatusOr<Tensor> InDType(LayerContext& context, const Tensor& x,
                               DType dtype) {
  if (x.dtype() == dtype) return x;
  ASSIGN_OR_RETURN(Tensor copy,
                   context.scratch.Allocate({x.dim(0), x.dim(1)}, dtype));
  context.kernels.Convert(copy, x);
  return copy;
}

}  // namespace moe
