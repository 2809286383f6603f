#include <cstdint>

#include "absl/types/span.h"
#include "moe/cpu/kernel_context.h"
#include "moe/cpu/linear_tiles.h"
#include "moe/kernels.h"

// Letters: R rows, e experts, I inputs, O outputs.

namespace moe {

void GroupedLinearForward(KernelContext& context, Tensor y_RO,
                          const Tensor& x_RI, const Tensor& w_eOI,
                          absl::Span<const int64_t> offsets) {
  RunLinear(context, LinearOp::kForward, false, {x_RI, w_eOI, y_RO, offsets});
}

void GroupedLinearInputGradient(KernelContext& context, Tensor d_x_RI,
                                const Tensor& d_y_RO, const Tensor& w_eOI,
                                absl::Span<const int64_t> offsets) {
  RunLinear(context, LinearOp::kInputGradient, false,
            {d_x_RI, w_eOI, d_y_RO, offsets});
}

void GroupedLinearWeightGradient(KernelContext& context, Tensor d_w_eOI,
                                 const Tensor& d_y_RO, const Tensor& x_RI,
                                 absl::Span<const int64_t> offsets) {
  RunLinear(context, LinearOp::kWeightGradient, true,
            {x_RI, d_w_eOI, d_y_RO, offsets});
}

}  // namespace moe
