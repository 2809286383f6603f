#ifndef TRAINER_CHECKPOINT_STORE_RESTORE_H_
#define TRAINER_CHECKPOINT_STORE_RESTORE_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "moe/parameters/parameter_table.h"
#include "trainer/checkpoint/store/state_loader.h"
#include "trainer/checkpoint/store/training_state.h"
#include "trainer/checkpoint/store/weights_loader.h"

namespace moe {

// out = elements [begin, begin + out.size()) of this rank's arena, from the
// whole tensors of a checkpoint whose Check has passed; padding is 0.
absl::Status ReadArena(const WeightsLoader& weights,
                       const ParameterTable& table, ArenaKind kind,
                       int64_t begin, absl::Span<float> out);

// Reads the moments that this rank owns. DataLoss: some are not stored, as of a
// parameter that was frozen in the run that wrote them.
absl::Status ReadMoments(const StateLoader& stored, TrainingState& state);

}  // namespace moe

#endif  // TRAINER_CHECKPOINT_STORE_RESTORE_H_
