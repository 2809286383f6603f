#ifndef TRAINER_CONFIG_CONFIG_CHECK_H_
#define TRAINER_CONFIG_CONFIG_CHECK_H_

#include "absl/status/status.h"
#include "trainer/config/train_config.pb.h"

namespace moe {

// Everything about a configuration that can be known before anything starts:
// ranges, divisibility, values that exclude each other, what this version does
// not do. InvalidArgument names the key, its value and the limit; Unimplemented
// is for what this build lacks. `world` is the number of ranks.
//
// Does not ask for training data, which a dry run can do without, nor how a run
// in tokens fits its length: where it goes on after other batches, that is
// known from the checkpoint alone.
absl::Status ValidateConfig(const TrainConfig& config, int world);

// InvalidArgument if the warm-up, the cool-down or the steps to trace do not
// fit in a run that begins anew.
absl::Status CheckFitsFromBeginning(const TrainConfig& config);

// InvalidArgument if there is nothing to train on.
absl::Status RequireTrainingData(const TrainConfig& config);

}  // namespace moe

#endif  // TRAINER_CONFIG_CONFIG_CHECK_H_
