#include "moe/pass.h"

namespace moe {

void Pass::Begin(const MicroBatch& micro_batch, int num_layers) {
  Empty();
  batch = micro_batch;
  const size_t layers = static_cast<size_t>(num_layers);
  blocks.resize(layers);
  routings.resize(layers);
  balance_BE.resize(layers);
  aux_losses.resize(layers);
  z_losses.resize(layers);
}

void Pass::Empty() {
  saved.Release({});
  routing.Release({});
  batch = {};
  routings.assign(routings.size(), {});
  balance_BE.assign(balance_BE.size(), {});
  out_TD = {};
  inverse_rms_T = {};
  d_normed_TD = {};
  has_gradient = false;
}

}  // namespace moe
