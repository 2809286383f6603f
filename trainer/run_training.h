#ifndef TRAINER_RUN_TRAINING_H_
#define TRAINER_RUN_TRAINING_H_

#include <string>

#include "absl/status/status.h"
#include "comm/mpi_runtime.h"
#include "trainer/train_config.pb.h"

namespace moe {

// A whole training run on all ranks of `runtime`, from an empty run directory
// to saved weights. The configuration must have passed ValidateConfig for this
// world and been resolved. `share_directory` holds what "share:" paths name.
//
// Collective. An error that IsAgreed is the same on every rank; any other is of
// this rank alone, and the job must be aborted. Cancelled: stopped as asked,
// weights saved. OutOfRange: loss or gradient not finite, said where. The
// others as in comm/exit_code.h; weights are saved if a step was taken and all
// ranks know of the error.
absl::Status RunTraining(const TrainConfig& config, const MpiRuntime& runtime,
                         const std::string& share_directory);

}  // namespace moe

#endif  // TRAINER_RUN_TRAINING_H_
