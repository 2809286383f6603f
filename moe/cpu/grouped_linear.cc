#include <cstdint>

#include "absl/types/span.h"
#include "moe/cpu/cpu_kernels.h"
#include "moe/cpu/linear_tiles.h"
#include "moe/kernels.h"

// Letters: R rows, e experts, I inputs, O outputs.

namespace moe::cpu {

void CpuKernels::GroupedLinearForward(Tensor y_RO, const Tensor& x_RI,
                                      const Tensor& w_eOI,
                                      absl::Span<const int64_t> offsets) {
  RunLinear(*this, LinearOp::kForward, false, {x_RI, w_eOI, y_RO, offsets});
}

void CpuKernels::GroupedLinearInputGradient(Tensor d_x_RI, const Tensor& d_y_RO,
                                            const Tensor& w_eOI,
                                            absl::Span<const int64_t> offsets) {
  RunLinear(*this, LinearOp::kInputGradient, false,
            {d_x_RI, w_eOI, d_y_RO, offsets});
}

void CpuKernels::GroupedLinearWeightGradient(
    Tensor d_w_eOI, const Tensor& d_y_RO, const Tensor& x_RI,
    absl::Span<const int64_t> offsets) {
  RunLinear(*this, LinearOp::kWeightGradient, true,
            {x_RI, d_w_eOI, d_y_RO, offsets});
}

}  // namespace moe::cpu
