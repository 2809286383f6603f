#ifndef MOE_CPU_SWIGLU_BFLOAT16_H_
#define MOE_CPU_SWIGLU_BFLOAT16_H_

#include <cstdint>

#include "comm/base/dtype.h"

namespace moe::cpu {

// A row that goes through SwiGLU, of either dtype.
template <typename T>
struct SwiGluRow {
  const T* gate_up_2F = nullptr;
  const T* next_2F = nullptr;  // fetched meanwhile; of the last row itself
  float weight = 1;
  int64_t F = 0;
};

// With AVX-512 and its instructions for bfloat16, which the processor must have
// (HasBFloat16Instructions); arithmetic is float32's. Results below the
// smallest normal number are 0.
void SwiGluForwardBFloat16(BFloat16* h_F, const SwiGluRow<BFloat16>& row);

// Returns d_weight. d_gate_up may be gate_up, h may be d_h.
float SwiGluBackwardBFloat16(BFloat16* d_gate_up_2F, BFloat16* h_F,
                             const BFloat16* d_h_F,
                             const SwiGluRow<BFloat16>& row);

}  // namespace moe::cpu

#endif  // MOE_CPU_SWIGLU_BFLOAT16_H_
