#include "trainer/run/run_training.h"

#include "comm/base/status_macros.h"
#include "data/storage/file_system.h"
#include "trainer/run/training_run.h"

namespace moe {

absl::Status RunTraining(const TrainConfig& config, const StartOptions& options,
                         const MpiRuntime& runtime,
                         const std::string& share_directory) {
  TrainingRun run(config, options, runtime, share_directory, PosixFileSystem());
  RETURN_IF_ERROR(run.Start());
  return run.Train();
}

}  // namespace moe
