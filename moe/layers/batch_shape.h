#ifndef MOE_LAYERS_BATCH_SHAPE_H_
#define MOE_LAYERS_BATCH_SHAPE_H_

#include <cstdint>

#include "moe/tensor.h"

namespace moe {

// The sequences of one micro-batch, and where in them this rank's tokens
// stand. The ranks of a tensor group share B sequences of L tokens, S = B L in
// all; written one sequence after another, rank j of t holds T = S / t tokens
// from token j T on. (Whole slices of the stream, not a slice of each
// sequence: so what all ranks hold, one after another, is the stream itself.)
struct BatchShape {
  int64_t length = 0;         // L
  int64_t num_sequences = 0;  // B
  int64_t first_token = 0;    // j T
  // Each token's position in its document, int32; null: in its sequence.
  Tensor positions_S = {};
};

}  // namespace moe

#endif  // MOE_LAYERS_BATCH_SHAPE_H_
