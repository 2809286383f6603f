#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "comm/mpi/mpi_runtime.h"
#include "data/storage/file_system.h"
#include "launch/command/checkpoint_command.h"
#include "launch/command/end_on_signals.h"
#include "launch/command/leave.h"
#include "launch/command/process_setup.h"
#include "trainer/report/progress_display.h"

namespace moe {
namespace {

constexpr char kProgram[] = "moe-checkpoint";

int Main(int argc, char** argv) {
  SetUpProcess(kProgram);
  absl::StatusOr<CheckpointCommand> command =
      ParseCheckpointCommand(argc, argv);
  if (command.ok() && !command->text.empty())
    return LeaveWithoutMpi(kProgram, command->text);
  RefuseForeignLauncher(kProgram);
  if (!command.ok()) return LeaveWithoutMpi(kProgram, command.status());

  // Threads do the work: under a launcher the first process does all of it.
  if (ReadLauncherEnvironment().rank != 0) return 0;
  if (const absl::Status status = EndOnSignals(kProgram); !status.ok())
    return LeaveWithoutMpi(kProgram, status);
  const bool terminal = ErrorsGoToTerminal();
  CheckpointOutcome outcome;
  {
    ProgressDisplay display(/*enabled=*/terminal, terminal);
    outcome = RunCheckpointCommand(
        PosixFileSystem(), *command,
        [&](const std::string& what, int64_t done, int64_t total) {
          display.Preparation(what, done, total);
        });
  }
  const int code = LeaveWithoutMpi(kProgram, outcome.text, outcome.status);
  return code == 0 && outcome.differs ? kExitDiffers : code;
}

}  // namespace
}  // namespace moe

int main(int argc, char** argv) { return moe::Main(argc, argv); }
