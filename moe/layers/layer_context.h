#ifndef MOE_LAYERS_LAYER_CONTEXT_H_
#define MOE_LAYERS_LAYER_CONTEXT_H_

#include "absl/status/statusor.h"
#include "comm/base/dtype.h"
#include "moe/kernels.h"
#include "moe/layers/arena.h"
#include "moe/layers/tensor_observer.h"

namespace moe {

// What every layer works with. `saved` keeps tensors from forward until
// backward has used them; `scratch` is for one call (ArenaScope).
struct LayerContext {
  Kernels& kernels;
  Arena& saved;
  Arena& scratch;
  DType compute_dtype;
  // Where a router keeps what it chose, if not in `saved`: it must outlive the
  // rest of a block that is computed again.
  Arena* routing = nullptr;

  // Whose call it is, for who watches; -1: outside the layers.
  int layer = -1;

  // Who watches a pass; null: nobody.
  TensorObserver* observer = nullptr;

  Arena& routing_arena() const { return routing != nullptr ? *routing : saved; }
};

inline void Show(const LayerContext& context, TensorKind kind,
                 const Tensor& tensor, int local_expert = -1) {
  if (context.observer == nullptr) return;
  context.observer->Observe(kind, context.layer, local_expert, tensor);
}

// x [rows, columns] in `dtype`: itself, or a copy in context.scratch.
absl::StatusOr<Tensor> InDType(LayerContext& context, const Tensor& x,
                               DType dtype);

}  // namespace moe

#endif  // MOE_LAYERS_LAYER_CONTEXT_H_
