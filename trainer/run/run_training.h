#ifndef TRAINER_RUN_RUN_TRAINING_H_
#define TRAINER_RUN_RUN_TRAINING_H_

#include <string>

#include "absl/status/status.h"
#include "comm/mpi/mpi_runtime.h"
#include "trainer/config/train_config.pb.h"
#include "trainer/run/run_start.h"

namespace moe {

// A whole training run on all ranks of `runtime`, from where `options` say to
// the last checkpoint. The configuration must have passed ValidateConfig for
// this world and been resolved. `share_directory` holds what "share:" paths
// name.
//
// Collective. An error that IsAgreed is the same on every rank; any other is of
// this rank alone, and the job must be aborted. Cancelled: stopped as asked,
// everything saved. OutOfRange: loss or gradient not finite, said where. The
// others as in comm/base/exit_code.h; the state is saved if training had begun
// and all ranks know of the error.
absl::Status RunTraining(const TrainConfig& config, const StartOptions& options,
                         const MpiRuntime& runtime,
                         const std::string& share_directory);

}  // namespace moe

#endif  // TRAINER_RUN_RUN_TRAINING_H_
