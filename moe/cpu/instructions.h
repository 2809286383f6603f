#ifndef MOE_CPU_INSTRUCTIONS_H_
#define MOE_CPU_INSTRUCTIONS_H_

namespace moe::cpu {

// Whether the processor has AVX-512 with instructions for bfloat16, and
// ONEDNN_MAX_CPU_ISA, which tests set, allows them.
bool HasBFloat16Instructions();

}  // namespace moe::cpu

#endif  // MOE_CPU_INSTRUCTIONS_H_
