#ifndef MOE_ATTENTION_H_
#define MOE_ATTENTION_H_

#include "absl/status/status.h"
#include "moe/layer_context.h"
#include "moe/tensor.h"
#include "moe/weights.h"

namespace moe {

// Grouped-query causal self-attention with rotary embedding (Ainslie et al.,
// "GQA", 2023; Su et al., "RoFormer", 2021).
// T tokens, D model width, C = (H + 2 G) d, A = H d, h = d / 2.

// Forward's part that backward needs.
struct AttentionSaved {
  Tensor qkv_TC;          // after rotation, compute
  Tensor y_TA;            // the heads' outputs, compute
  Tensor log_sum_exp_HT;  // float32
};

class Attention {
 public:
  // The table has a row for each position that a sequence may have.
  Attention(const AttentionShape& shape, const Tensor& rotary_table_L2h)
      : shape_(shape), rotary_table_L2h_(rotary_table_L2h) {}

  // out += o(heads(qkv(x))). out is the float32 residual stream.
  absl::Status Forward(LayerContext& context, Tensor out_TD,
                       AttentionSaved& saved, const Tensor& x_TD,
                       const LayerWeights& weights, int64_t length) const;

  // d_x from d_out (both compute); adds to the gradients of qkv and o.
  absl::Status Backward(LayerContext& context, Tensor d_x_TD,
                        LayerWeights& gradients, const Tensor& d_out_TD,
                        const Tensor& x_TD, const AttentionSaved& saved,
                        const LayerWeights& weights, int64_t length) const;

 private:
  AttentionShape WithLength(int64_t length) const;

  AttentionShape shape_;  // but for the length
  Tensor rotary_table_L2h_;
};

}  // namespace moe

#endif  // MOE_ATTENTION_H_
