#ifndef TRAINER_CHECKPOINT_MASTER_WEIGHTS_H_
#define TRAINER_CHECKPOINT_MASTER_WEIGHTS_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "moe/parameter_table.h"

namespace moe {

// Where the float32 master weights are asked for, whoever holds them.
class MasterWeights {
 public:
  virtual ~MasterWeights() = default;

  // out = master weights of elements [begin, begin + out.size()) of this
  // rank's arena. Collective over the arena's reduction group: every rank of
  // it asks for the same range.
  virtual absl::Status Gather(ArenaKind kind, int64_t begin,
                              absl::Span<float> out) = 0;
};

}  // namespace moe

#endif  // TRAINER_CHECKPOINT_MASTER_WEIGHTS_H_
