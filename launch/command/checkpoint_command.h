#ifndef LAUNCH_COMMAND_CHECKPOINT_COMMAND_H_
#define LAUNCH_COMMAND_CHECKPOINT_COMMAND_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/corpus.h"
#include "data/storage/file_system.h"
#include "trainer/checkpoint/tools/checkpoint_export.h"

namespace moe {

// What the command line of moe-checkpoint asks for.
struct CheckpointCommand {
  enum class Action { kList, kInspect, kVerify, kDiff, kExport };

  // Not empty: what --help or --version wants printed.
  std::string text;
  Action action = Action::kList;
  std::vector<std::string> paths;
  bool json = false;
  bool tensors = false;          // inspect
  bool optimizer = false;        // diff
  ExportOptions export_options;  // export
  int threads = 1;
};

// InvalidArgument: what was typed wrongly or is missing.
absl::StatusOr<CheckpointCommand> ParseCheckpointCommand(
    int argc, const char* const* argv);

// "5GB", "64MiB", "1000": at least 1; KB, MB, GB, TB are powers of 1000, KiB
// and so on of 1024. InvalidArgument names `flag`.
absl::StatusOr<int64_t> ParseBytes(absl::string_view flag,
                                   absl::string_view text);

// Ends diff when there is a difference, as diff(1) does; no code of
// comm/base/exit_code.h.
inline constexpr int kExitDiffers = 1;

struct CheckpointOutcome {
  std::string text;  // for standard output, also where `status` is an error
  absl::Status status;
  bool differs = false;  // of diff
};

// In run_checkpoint_command.cc.
CheckpointOutcome RunCheckpointCommand(FileSystem& files,
                                       const CheckpointCommand& command,
                                       const ProgressFunction& progress);

}  // namespace moe

#endif  // LAUNCH_COMMAND_CHECKPOINT_COMMAND_H_
