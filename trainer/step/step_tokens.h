#ifndef TRAINER_STEP_STEP_TOKENS_H_
#define TRAINER_STEP_STEP_TOKENS_H_

#include "absl/status/statusor.h"
#include "data/batch_loader.h"
#include "moe/layers/arena.h"
#include "moe/tensor.h"

namespace moe {

// This rank's sequences of a step: the loader's block on the host, and the same
// on the device.
struct StepTokens {
  TokenBlock host;
  Tensor inputs;  // int32, like those below
  Tensor targets;
  Tensor positions;  // null: none
};

// Of a block, in `memory` of the device, which holds one block at a time: what
// was there before is gone.
absl::StatusOr<StepTokens> UploadTokens(Arena& memory, const TokenBlock& block);

}  // namespace moe

#endif  // TRAINER_STEP_STEP_TOKENS_H_
