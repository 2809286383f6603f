#ifndef TRAINER_LAYOUT_H_
#define TRAINER_LAYOUT_H_

#include "absl/status/statusor.h"
#include "comm/mesh.h"
#include "trainer/train_config.pb.h"

namespace moe {

// How `world` ranks are split. InvalidArgument says which number must divide
// which, and the nearest numbers that do.
absl::StatusOr<Mesh> MakeMesh(const TrainConfig& config, int world);

}  // namespace moe

#endif  // TRAINER_LAYOUT_H_
