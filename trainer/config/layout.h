#ifndef TRAINER_CONFIG_LAYOUT_H_
#define TRAINER_CONFIG_LAYOUT_H_

#include "absl/status/statusor.h"
#include "comm/mesh.h"
#include "trainer/config/train_config.pb.h"

namespace moe {

// How `world` ranks are split: parallel.tensor divides the ranks, the sequence
// length, the heads and the key/value heads, parallel.expert the ranks and the
// experts. InvalidArgument names the rule that is broken with both its numbers,
// the nearest values that this number of ranks allows, and the nearest numbers
// of ranks that the values allow.
absl::StatusOr<Mesh> MakeMesh(const TrainConfig& config, int world);

}  // namespace moe

#endif  // TRAINER_CONFIG_LAYOUT_H_
