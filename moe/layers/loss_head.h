#ifndef MOE_LAYERS_LOSS_HEAD_H_
#define MOE_LAYERS_LOSS_HEAD_H_

#include <cstdint>

#include "absl/status/status.h"
#include "moe/layers/layer_context.h"
#include "moe/layers/tensor_parallel.h"
#include "moe/tensor.h"

namespace moe {

// Logits and cross-entropy, a chunk of tokens at a time: logits of all tokens
// never exist at once. In training the chunk's logits become their own
// gradient and are used on the spot, so backward has nothing left to do here.
// The ranks of a tensor group each compute the logits of their slice of the
// vocabulary for all tokens; what they exchange of them are three numbers a
// token, not the logits.
// S tokens of the group, T of this rank, D model width, V its slice of the
// vocabulary.
struct LossHeadArguments {
  Tensor x_TD;
  Tensor w_VD;
  int64_t first_id = 0;  // of the slice
  Tensor targets_S;      // -1: none; the same on all ranks of the group
  float scale = 0;       // of the sum of losses that is differentiated
  // Training: d_x is overwritten, d_w added to. A null d_x is evaluation, a
  // null d_w that of a frozen head.
  Tensor d_x_TD = {};
  Tensor d_w_VD = {};
};

// This rank's rows of one chunk, so that its logits take about 16 MiB, where
// `vocab_size` is of the whole vocabulary.
int64_t LossChunkRows(int64_t vocab_size);

// loss (float64) += sum_t cross-entropy(x w^T, target) over this rank's tokens.
// Collective over the tensor group, whose ranks have the same T.
absl::Status LossHead(LayerContext& context, const TensorParallel& tensor,
                      Tensor loss_1, const LossHeadArguments& arguments,
                      int64_t vocab_size);

}  // namespace moe

#endif  // MOE_LAYERS_LOSS_HEAD_H_
