#ifndef MOE_PARAMETERS_GRADIENT_LISTENER_H_
#define MOE_PARAMETERS_GRADIENT_LISTENER_H_

#include "absl/status/status.h"
#include "moe/parameters/parameter_table.h"

namespace moe {

// Told by the backward pass, from the last layer to the first, which
// gradients are complete for this micro-step, so that their reduction can
// start while the rest is computed.
class GradientListener {
 public:
  virtual ~GradientListener() = default;
  virtual absl::Status GradientsReady(ParameterRange range) = 0;
};

}  // namespace moe

#endif  // MOE_PARAMETERS_GRADIENT_LISTENER_H_
