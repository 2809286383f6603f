#ifndef MOE_LAYERS_ATTENTION_H_
#define MOE_LAYERS_ATTENTION_H_

#include "absl/status/status.h"
#include "moe/layers/batch_shape.h"
#include "moe/layers/layer_context.h"
#include "moe/layers/tensor_parallel.h"
#include "moe/parameters/weights.h"
#include "moe/tensor.h"

namespace moe {

// Grouped-query causal self-attention with rotary embedding (Ainslie et al.,
// "GQA", 2023; Su et al., "RoFormer", 2021). Inputs and outputs are of this
// rank's T tokens; in between it computes its own H query and G key/value heads
// for all S tokens of its tensor group (TensorParallel).
// D model width, C = (H + 2 G) d, A = H d, h = d / 2.

// Forward's part that backward needs.
struct AttentionSaved {
  Tensor qkv_SC;          // after rotation, compute
  Tensor y_SA;            // the heads' outputs, compute
  Tensor log_sum_exp_HS;  // float32
};

class Attention {
 public:
  // The table has a row for each position that a sequence may have.
  Attention(const AttentionShape& shape, const Tensor& rotary_table_L2h,
            const TensorParallel& tensor)
      : shape_(shape), rotary_table_L2h_(rotary_table_L2h), tensor_(tensor) {}

  // out += o(heads(qkv(x))). out is the float32 residual stream.
  absl::Status Forward(LayerContext& context, Tensor out_TD,
                       AttentionSaved& saved, const Tensor& x_TD,
                       const LayerWeights& weights,
                       const BatchShape& batch) const;

  // d_x from d_out (both compute); adds to the gradients of qkv and o.
  absl::Status Backward(LayerContext& context, Tensor d_x_TD,
                        LayerWeights& gradients, const Tensor& d_out_TD,
                        const Tensor& x_TD, const AttentionSaved& saved,
                        const LayerWeights& weights,
                        const BatchShape& batch) const;

 private:
  AttentionShape WithLength(int64_t length) const;

  AttentionShape shape_;  // of this rank's heads, but for the length
  Tensor rotary_table_L2h_;
  const TensorParallel& tensor_;
};

}  // namespace moe

#endif  // MOE_LAYERS_ATTENTION_H_
