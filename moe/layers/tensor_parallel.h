#ifndef MOE_LAYERS_TENSOR_PARALLEL_H_
#define MOE_LAYERS_TENSOR_PARALLEL_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "comm/process_group.h"
#include "moe/layers/layer_context.h"
#include "moe/tensor.h"

namespace moe {

// Tensor parallelism (Shoeybi et al., "Megatron-LM", 2019) with sequence
// parallelism between (Korthikanti et al., "Reducing activation recomputation
// in large transformer models", 2022). All of it is here: layers call these
// functions, and with one rank each is the plain kernel.
//
// Outside attention, embedding and head each of the t ranks holds T = S / t of
// the S tokens (BatchShape). Inside, each sees all S tokens and holds a part
// of the weights: its heads, its rows of the vocabulary.
//
//   going in    Gather: all ranks' tokens, an all-gather
//   going out   the products of a rank's part are summands of the result;
//               their sum, in float32 and rank order, is reduce-scattered, so
//               that each rank gets its own tokens'
//
// and the gradient of one is the other.
//
// Letters: S tokens of the group, T of this rank, I inputs and O outputs of a
// linear map, D model width, V this rank's rows of the vocabulary. All
// functions are collective over the group; errors are those of its collectives
// and of the arenas.
class TensorParallel {
 public:
  explicit TensorParallel(ProcessGroup& group) : group_(group) {}

  int size() const { return group_.size(); }
  int rank() const { return group_.rank(); }

  // The ranks' x one after another along dim 0, in `arena`; x itself when there
  // is one rank.
  absl::StatusOr<Tensor> Gather(LayerContext& context, Arena& arena,
                                const Tensor& x_TD) const;

  // y (+)= this rank's tokens of the sum over ranks of x w^T, where each rank
  // has some of the inputs I and the matching columns of w. y is float32.
  // `part`: what an observer knows this rank's summand by.
  absl::Status LinearForward(LayerContext& context, Tensor y_TO,
                             const Tensor& x_SI, const Tensor& w_OI,
                             bool accumulate, TensorKind part) const;

  // d_x = this rank's tokens of the sum over ranks of d_y w, where each rank
  // has some of the outputs O and the matching rows of w. d_x is compute or
  // float32.
  absl::Status LinearInputGradient(LayerContext& context, Tensor d_x_TI,
                                   const Tensor& d_y_SO,
                                   const Tensor& w_OI) const;

  // x[t] = w[ids[t]], where each rank has rows [first_id, first_id + V) of the
  // vocabulary. x is float32.
  absl::Status EmbeddingForward(LayerContext& context, Tensor x_TD,
                                const Tensor& ids_S, const Tensor& w_VD,
                                int64_t first_id) const;

  // d_w[ids[t] - first_id] += d_x[t] for all S tokens. float32.
  absl::Status EmbeddingBackward(LayerContext& context, Tensor d_w_VD,
                                 const Tensor& d_x_TD, const Tensor& ids_S,
                                 int64_t first_id) const;

 private:
  // y (+)= this rank's tokens of the sum over ranks of `partial`, a float32
  // tensor [S, ...].
  absl::Status ScatterSum(LayerContext& context, Tensor y_TD,
                          const Tensor& partial_SD, bool accumulate) const;

  ProcessGroup& group_;
};

}  // namespace moe

#endif  // MOE_LAYERS_TENSOR_PARALLEL_H_
