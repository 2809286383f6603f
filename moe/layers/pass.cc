#include "moe/layers/pass.h"

namespace moe {

void Pass::Begin(const MicroBatch& micro_batch, int num_layers) {
  Empty();
  batch = micro_batch;
  const size_t layers = static_cast<size_t>(num_layers);
  blocks.resize(layers);
  routings.resize(layers);
  z_losses.resize(layers);
  first_choice_sums.resize(layers);
}

void Pass::Empty() {
  saved.Release({});
  routing.Release({});
  batch = {};
  routings.assign(routings.size(), {});
  numbers = {};
  balance.gradients_BE.clear();
  out_TD = {};
  inverse_rms_T = {};
  d_normed_TD = {};
  has_gradient = false;
}

}  // namespace moe
