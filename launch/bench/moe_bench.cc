#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "comm/mpi/mpi_runtime.h"
#include "launch/bench/bench_command.h"
#include "launch/command/leave.h"
#include "launch/command/process_setup.h"

namespace moe {
namespace {

constexpr char kProgram[] = "moe-bench";

int Main(int argc, char** argv) {
  SetUpProcess(kProgram);
  absl::StatusOr<BenchCommand> command =
      ParseBenchCommand(argc, argv, ReadLauncherEnvironment().world);
  if (command.ok() && !command->text.empty())
    return LeaveWithoutMpi(kProgram, command->text);
  RefuseForeignLauncher(kProgram);
  if (!command.ok()) return LeaveWithoutMpi(kProgram, command.status());
  absl::StatusOr<std::unique_ptr<MpiRuntime>> runtime = MpiRuntime::Start(
      absl::Seconds(command->config.parallel().collective_timeout_seconds()));
  if (!runtime.ok()) LeaveAfterFailedStart(kProgram, runtime.status());
  const absl::Status status = RunBenchCommand(*command, **runtime);
  return Leave(kProgram, status, *std::move(runtime));
}

}  // namespace
}  // namespace moe

int main(int argc, char** argv) { return moe::Main(argc, argv); }
