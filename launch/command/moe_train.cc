#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "comm/base/status_macros.h"
#include "comm/mpi/mpi_runtime.h"
#include "comm/watch/start_watch.h"
#include "comm/watch/watchdog.h"
#include "launch/command/end_on_signals.h"
#include "launch/command/leave.h"
#include "launch/command/process_setup.h"
#include "launch/command/share_directory.h"
#include "launch/command/train_command.h"
#include "trainer/config/config_resolve.h"
#include "trainer/run/run_directory.h"
#include "trainer/run/run_training.h"

namespace moe {
namespace {

constexpr char kProgram[] = "moe-train";

absl::Duration CollectiveTimeout(const TrainConfig& config) {
  return absl::Seconds(config.parallel().collective_timeout_seconds());
}

// How this job says which of its ranks was lost.
std::function<void(const LostRankReport&)> Reporter(const TrainConfig& config) {
  return LostRankReporter(kProgram,
                          RunDirectory(config.run().directory()).failure());
}

absl::StatusOr<std::unique_ptr<StartWatch>> WatchStart(
    const TrainConfig& config, const LauncherEnvironment& launcher) {
  if (launcher.world == 1) return nullptr;
  return StartWatch::Start({.rank = launcher.rank,
                            .world = launcher.world,
                            .limit = CollectiveTimeout(config),
                            .report = Reporter(config)});
}

absl::StatusOr<std::unique_ptr<Watchdog>> StartWatchdog(
    const TrainConfig& config, const MpiRuntime& runtime,
    std::unique_ptr<StartWatch> start_watch) {
  if (runtime.world() == 1 || !config.parallel().watchdog()) return nullptr;
  return Watchdog::Start(runtime,
                         {.collective_timeout = CollectiveTimeout(config),
                          .report = Reporter(config)},
                         std::move(start_watch));
}

absl::Status Train(const TrainCommand& command, const MpiRuntime& runtime) {
  ASSIGN_OR_RETURN(
      const TrainConfig resolved,
      ResolveConfig(command.config, runtime.world(), runtime.cores_per_rank()));
  return RunTraining(resolved, command.start, runtime, ShareDirectory());
}

int Main(int argc, char** argv) {
  SetUpProcess(kProgram);
  const LauncherEnvironment launcher = ReadLauncherEnvironment();
  auto command = ParseTrainCommand(argc, argv, launcher.world, [&launcher] {
    RefuseForeignLauncher(kProgram);
    // mpirun stops the others where one ends with an error, and tells of that.
    return launcher.world > 1 ? RemoveOnSignals() : EndOnSignals(kProgram);
  });
  if (command.ok() && !command->text.empty() && !command->dry_run)
    return LeaveWithoutMpi(kProgram, command->text);
  RefuseForeignLauncher(kProgram);
  if (!command.ok()) return LeaveWithoutMpi(kProgram, command.status());
  if (launcher.rank == 0)
    std::fputs(BeforehandText(kProgram, *command).c_str(), stderr);
  if (command->dry_run)
    return LeaveWithoutMpi(kProgram, command->text,
                           DryRunStatus(kProgram, *command));

  absl::StatusOr<std::unique_ptr<StartWatch>> start_watch =
      WatchStart(command->config, launcher);
  if (!start_watch.ok()) LeaveAfterFailedStart(kProgram, start_watch.status());
  absl::StatusOr<std::unique_ptr<MpiRuntime>> runtime =
      MpiRuntime::Start(CollectiveTimeout(command->config));
  if (!runtime.ok()) LeaveAfterFailedStart(kProgram, runtime.status());
  absl::StatusOr<std::unique_ptr<Watchdog>> watchdog =
      StartWatchdog(command->config, **runtime, *std::move(start_watch));
  if (!watchdog.ok())
    return Leave(kProgram, watchdog.status(), *std::move(runtime));
  const absl::Status status = Train(*command, **runtime);
  return Leave(kProgram, status, *std::move(runtime), *std::move(watchdog));
}

}  // namespace
}  // namespace moe

int main(int argc, char** argv) { return moe::Main(argc, argv); }
