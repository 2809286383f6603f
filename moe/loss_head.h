#ifndef MOE_LOSS_HEAD_H_
#define MOE_LOSS_HEAD_H_

#include <cstdint>

#include "absl/status/status.h"
#include "moe/layer_context.h"
#include "moe/tensor.h"

namespace moe {

// Logits and cross-entropy, a chunk of tokens at a time: logits of all tokens
// never exist at once. In training the chunk's logits become their own
// gradient and are used on the spot, so backward has nothing left to do here.
// T tokens, D model width, V vocabulary.

// Rows of one chunk, so that its logits take about 16 MiB.
int64_t LossChunkRows(int64_t vocab_size);

// Adds sum_t cross-entropy(x w^T, target) to *loss_sum. In training (d_x not
// null) d_x = gradient of scale times the sum, and d_w += likewise.
absl::Status LossHead(LayerContext& context, double* loss_sum, Tensor d_x_TD,
                      Tensor d_w_VD, const Tensor& x_TD, const Tensor& w_VD,
                      const Tensor& targets_T, float scale);

}  // namespace moe

#endif  // MOE_LOSS_HEAD_H_
