#ifndef MOE_LAYERS_MICRO_BATCH_H_
#define MOE_LAYERS_MICRO_BATCH_H_

#include <cstdint>

#include "moe/tensor.h"

namespace moe {

// How a micro-batch of this rank relates to the global batch, from which each
// loss takes its one and only divisor.
struct BatchScale {
  int64_t global_tokens = 0;     // of the global batch, g L
  int64_t global_targets = 0;    // those of its targets that are not -1
  int64_t global_sequences = 0;  // g
  int64_t micro_sequences = 0;   // of all ranks in this micro-step
};

// One micro-step of a tensor group, whose ranks are all given all S of its
// tokens. S may be 0: the group then joins the collectives with no tokens.
struct MicroBatch {
  Tensor inputs_S;          // int32, sequences one after another
  Tensor targets_S;         // int32, the next token of each; -1: none
  int64_t length = 0;       // of a sequence, also where S is 0
  Tensor positions_S = {};  // as in BatchShape
  BatchScale scale;
};

}  // namespace moe

#endif  // MOE_LAYERS_MICRO_BATCH_H_
