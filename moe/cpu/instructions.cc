#include "moe/cpu/instructions.h"

#include <oneapi/dnnl/dnnl.h>

namespace moe::cpu {

bool HasBFloat16Instructions() {
  // An instruction set's number has the bits of those that it includes.
  const unsigned needed = dnnl_cpu_isa_avx512_core_bf16;
  return (dnnl_get_effective_cpu_isa() & needed) == needed;
}

}  // namespace moe::cpu
