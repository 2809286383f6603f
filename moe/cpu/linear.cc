#include <array>
#include <cstdint>

#include "comm/base/check.h"
#include "moe/cpu/cpu_kernels.h"
#include "moe/cpu/linear_tiles.h"
#include "moe/kernels.h"

// Letters: T tokens, I inputs, O outputs.

namespace moe::cpu {
namespace {

void RunSingle(CpuKernels& kernels, LinearOp op, bool accumulate,
               const Tensor& x_TI, const Tensor& w_OI, const Tensor& y_TO) {
  CHECK(x_TI.rank() == 2 && w_OI.rank() == 2 && y_TO.rank() == 2);
  const std::array<int64_t, 2> offsets = {0, x_TI.dim(0)};
  RunLinear(kernels, op, accumulate,
            {x_TI, w_OI.Reshape({1, w_OI.dim(0), w_OI.dim(1)}), y_TO, offsets});
}

}  // namespace

void CpuKernels::LinearForward(Tensor y_TO, const Tensor& x_TI,
                               const Tensor& w_OI, bool accumulate) {
  RunSingle(*this, LinearOp::kForward, accumulate, x_TI, w_OI, y_TO);
}

void CpuKernels::LinearInputGradient(Tensor d_x_TI, const Tensor& d_y_TO,
                                     const Tensor& w_OI, bool accumulate) {
  RunSingle(*this, LinearOp::kInputGradient, accumulate, d_x_TI, w_OI, d_y_TO);
}

void CpuKernels::LinearWeightGradient(Tensor d_w_OI, const Tensor& d_y_TO,
                                      const Tensor& x_TI) {
  RunSingle(*this, LinearOp::kWeightGradient, true, x_TI, d_w_OI, d_y_TO);
}

}  // namespace moe::cpu
