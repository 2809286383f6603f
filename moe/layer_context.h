#ifndef MOE_LAYER_CONTEXT_H_
#define MOE_LAYER_CONTEXT_H_

#include "comm/dtype.h"
#include "moe/arena.h"
#include "moe/kernels.h"

namespace moe {

// What every layer works with. `saved` keeps tensors from forward until
// backward has used them; `scratch` is for one call (ArenaScope).
struct LayerContext {
  KernelContext& kernels;
  Arena& saved;
  Arena& scratch;
  DType compute_dtype;
};

}  // namespace moe

#endif  // MOE_LAYER_CONTEXT_H_
