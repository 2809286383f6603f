#ifndef MOE_LAYERS_PASS_H_
#define MOE_LAYERS_PASS_H_

#include <cstdint>
#include <vector>

#include "moe/layers/arena.h"
#include "moe/layers/balancing.h"
#include "moe/layers/block.h"
#include "moe/layers/micro_batch.h"
#include "moe/layers/router.h"
#include "moe/layers/tensor_observer.h"
#include "moe/tensor.h"

namespace moe {

// The numbers that the device makes in a forward for the host. They lie in one
// piece of memory, and go to the host in one copy.
struct PassNumbers {
  // float64: the cross-entropy; then of each layer the squares of
  // log_sum_exp; then of each the probabilities of the first choices. Behind
  // them lies the load.
  Tensor all;
  Tensor load_L2BE;  // of all routings, float32
  int64_t num_layers = 0;

  Tensor cross_entropy() const { return all.Rows(0, 1); }
  Tensor z(int64_t layer) const { return all.Rows(1 + layer, 1); }
  Tensor first_choices(int64_t layer) const {
    return all.Rows(1 + num_layers + layer, 1);
  }
  int64_t num_sums() const { return 1 + 2 * num_layers; }
};

// What one micro-batch keeps between its forward and its backward. Forward
// fills a pass, Backward empties it; a forward on a full pass empties it first.
// Passes that are in flight at once may share a scratch arena, since each call
// leaves it as it was.
//
// Numbers on the host (the losses, the load, the sums, and of `blocks` the
// counts of their plans) stay until the next forward; tensors end when the pass
// is emptied.
struct Pass {
  explicit Pass(Arena& of_calls)
      : scratch(of_calls),
        saved(of_calls.context()),
        routing(of_calls.context()) {}

  Pass(const Pass&) = delete;
  Pass& operator=(const Pass&) = delete;

  // Of a network of so many layers.
  void Begin(const MicroBatch& micro_batch, int num_layers);
  void Empty();

  Arena& scratch;  // of the calls
  Arena saved;
  // What routers chose, where the rest of a block is computed again
  // (Recompute::kBlock).
  Arena routing;
  TensorObserver* observer = nullptr;  // of the next calls; null: none

  MicroBatch batch;
  std::vector<BlockSaved> blocks;  // one a layer, like those below
  std::vector<Routing> routings;
  PassNumbers numbers;
  Balance balance;
  // This rank's share of each layer's z-loss, without coefficient; they add up
  // like LossTerms.
  std::vector<double> z_losses;
  // Of each layer, over this rank's tokens: the probabilities of the first
  // choices.
  std::vector<double> first_choice_sums;
  Tensor out_TD;         // the residual stream after all blocks
  Tensor inverse_rms_T;  // of the final norm
  Tensor d_normed_TD;    // gradient of the final norm's output, in training
  bool has_gradient = false;  // Backward may follow
};

}  // namespace moe

#endif  // MOE_LAYERS_PASS_H_
