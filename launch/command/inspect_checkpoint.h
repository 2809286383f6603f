#ifndef LAUNCH_COMMAND_INSPECT_CHECKPOINT_H_
#define LAUNCH_COMMAND_INSPECT_CHECKPOINT_H_

#include <string>

#include "absl/status/statusor.h"
#include "data/corpus.h"
#include "data/storage/file_system.h"

namespace moe {

struct InspectOptions {
  bool json = false;
  bool tensors = false;  // each of them, else a line for each kind
  int threads = 1;
};

// What a checkpoint holds: its place in the run, layout, files, and tensors
// with their norms, for which all weights are read. As JSON one object, and
// with `tensors` one more for each. Errors as OpenStoredCheckpoint.
absl::StatusOr<std::string> InspectCheckpoint(FileSystem& files,
                                              const std::string& path,
                                              const InspectOptions& options,
                                              const ProgressFunction& progress);

}  // namespace moe

#endif  // LAUNCH_COMMAND_INSPECT_CHECKPOINT_H_
