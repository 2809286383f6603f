#ifndef TRAINER_ACTIVATION_PLAN_H_
#define TRAINER_ACTIVATION_PLAN_H_

#include <cstdint>

#include "comm/dtype.h"
#include "moe/model_config.pb.h"
#include "moe/recompute.h"

namespace moe {

// The tensors of one rank's forward and backward of one micro-batch, counted
// without being made: what moe/language_model.cc and below it ask of their
// arenas, in the same order. Tests hold it to the arenas' own counts, byte for
// byte.
struct ActivationShape {
  ModelConfig model;
  RouterConfig router = {};
  DType compute_dtype = DType::kFloat32;
  Recompute recompute = Recompute::kNone;
  int64_t sequences = 0;     // B, of the tensor group
  int64_t length = 0;        // L
  int64_t tensor_ranks = 1;  // t
  int64_t expert_ranks = 1;  // P
  // N: rows leaving this rank in each layer: B L K / t but for those dropped.
  int64_t sent_rows = 0;
  // R: rows arriving at this rank's experts in each layer; N when tokens are
  // spread evenly.
  int64_t received_rows = 0;
};

// The most in use at once of each arena (Arena::peak_bytes): all of it that is
// ever written to.
struct ActivationBytes {
  int64_t saved = 0;    // what backward needs
  int64_t routing = 0;  // what routers chose, where it is kept apart (BLOCK)
  int64_t scratch = 0;  // what lives for one call
};

ActivationBytes PlanActivations(const ActivationShape& shape);

}  // namespace moe

#endif  // TRAINER_ACTIVATION_PLAN_H_
