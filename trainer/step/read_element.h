#ifndef TRAINER_STEP_READ_ELEMENT_H_
#define TRAINER_STEP_READ_ELEMENT_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "comm/device_context.h"
#include "moe/tensor.h"

namespace moe {

// An element of a tensor of float32 or bfloat16. Waits for the device: for
// failures, of which one number is told.
absl::StatusOr<float> ReadElement(DeviceContext& context, const Tensor& tensor,
                                  int64_t index);

}  // namespace moe

#endif  // TRAINER_STEP_READ_ELEMENT_H_
