#ifndef MOE_CPU_LINEAR_TILES_H_
#define MOE_CPU_LINEAR_TILES_H_

#include <cstdint>

#include "absl/types/span.h"
#include "moe/cpu/cpu_kernels.h"
#include "moe/cpu/matmul.h"
#include "moe/tensor.h"

namespace moe::cpu {

// The tensors of a linear map of several experts; a single map is one expert
// with all rows. The operation says which of them is the result.
struct LinearTensors {
  Tensor x_RI;
  Tensor w_eOI;
  Tensor y_RO;
  absl::Span<const int64_t> offsets;  // e + 1, from 0 to R
};

// Computes the operation tile by tile, tiles dealt to the kernels' threads,
// and calls the kernels' progress between them. A tile holds a result's whole
// sum, so neither the dealing nor the progress changes a bit of it.
void RunLinear(CpuKernels& kernels, LinearOp op, bool accumulate,
               const LinearTensors& tensors);

}  // namespace moe::cpu

#endif  // MOE_CPU_LINEAR_TILES_H_
