#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "comm/mpi/mpi_runtime.h"
#include "launch/command/end_on_signals.h"
#include "launch/command/leave.h"
#include "launch/command/process_setup.h"
#include "launch/command/tokenize_command.h"
#include "trainer/report/progress_display.h"

namespace moe {
namespace {

constexpr char kProgram[] = "moe-tokenize";

int Main(int argc, char** argv) {
  SetUpProcess(kProgram);
  absl::StatusOr<TokenizeCommand> command = ParseTokenizeCommand(argc, argv);
  if (command.ok() && !command->text.empty())
    return LeaveWithoutMpi(kProgram, command->text);
  RefuseForeignLauncher(kProgram);
  if (!command.ok()) return LeaveWithoutMpi(kProgram, command.status());

  // Threads do the work: under a launcher the first process does all of it.
  if (ReadLauncherEnvironment().rank != 0) return 0;
  if (const absl::Status status = EndOnSignals(kProgram); !status.ok())
    return LeaveWithoutMpi(kProgram, status);
  absl::StatusOr<std::string> result;
  {
    ProgressDisplay display(/*enabled=*/true, ErrorsGoToTerminal());
    result = RunTokenizeCommand(
        *command,
        [&](const std::string& what, int64_t done, int64_t total) {
          display.Preparation(what, done, total);
        },
        [&](const std::string& line) {
          display.Say(absl::StrCat(kProgram, ": ", line));
        });
  }
  return LeaveWithoutMpi(kProgram, result);
}

}  // namespace
}  // namespace moe

int main(int argc, char** argv) { return moe::Main(argc, argv); }
