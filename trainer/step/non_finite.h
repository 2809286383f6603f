#ifndef TRAINER_STEP_NON_FINITE_H_
#define TRAINER_STEP_NON_FINITE_H_

#include <cstdint>
#include <optional>
#include <string>

namespace moe {

// A tensor that holds a NaN or an infinity, and the rank that met it.
struct NonFiniteTensor {
  // What it is: "router logits"; "gradient" or "weights" of `parameter`.
  std::string tensor;
  std::string parameter = "";  // its name in checkpoints; empty: none
  int layer = -1;              // from 0; -1: outside the layers
  int expert = -1;             // of the whole model; -1: no single expert's
  std::string value;           // of its first such element: "inf"
  int rank = 0;                // of the world
  std::string host;
  int micro_step = 0;  // of the step, from 0; of weights and sums: 0
};

// Why a step's loss or gradient was not finite; the same on all ranks.
//
// "First" is so in the way of the data: the earliest micro-step; in that the
// earliest tensor of the forward pass (embedding, the layers, head, losses), or
// if all of it is finite of the backward pass (head, the layers from the last
// to the first, embedding; in a layer experts, gate, norm, attention, norm).
// When several ranks met it at the same tensor or at different experts of one
// layer, the lowest of them.
struct NonFinite {
  int64_t step = 0;
  bool in_loss = false;  // else in the gradient alone
  // The first tensor. None where all was finite when it was computed again: a
  // sum over ranks overflowed, or the machine erred.
  std::optional<NonFiniteTensor> first = std::nullopt;
  // When the gradient alone was not finite: the first parameter's whose
  // gradient, of one rank and micro-step, was not.
  std::optional<NonFiniteTensor> gradient = std::nullopt;
  // Then too: the first parameter, in the order of the model, whose gradient's
  // sum over ranks and micro-steps was not, before any was computed again. The
  // rank is one that keeps it.
  std::optional<NonFiniteTensor> sum = std::nullopt;
  // The first parameter, in the order of the model, that was not finite itself
  // before the step; then no other batch would do better.
  std::optional<NonFiniteTensor> weights = std::nullopt;
};

// "the loss of step 7 is not finite: the first such value, inf, is in the
// router logits in layer 3 on rank 5 (node2) in micro-step 1; ..."
std::string Describe(const NonFinite& what);

}  // namespace moe

#endif  // TRAINER_STEP_NON_FINITE_H_
