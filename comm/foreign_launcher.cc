#include "comm/foreign_launcher.h"

#include <cstdlib>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "comm/mpi_runtime.h"

namespace moe {
namespace {

// How a launcher tells its processes who they are.
struct Launcher {
  const char* name;
  const char* rank;
  const char* size;
  // Must be there too, null: nothing; for names that others use.
  const char* beside;
  // Must be equal to the size if it is there, null: nothing.
  const char* confirms;
  const char* instead;  // what to type, before the words of launch/run.sh
};

constexpr Launcher kLaunchers[] = {
    // sbatch passes the words of a step in which it is typed on to the batch
    // script, but for the number of tasks, which is the new job's.
    {"srun", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", nullptr, "SLURM_NTASKS",
     "srun --mpi=pmix, or "},
    // MPICH's mpiexec, Intel's mpirun, Cray's aprun and PALS, srun --mpi=pmi2.
    {"a launcher that speaks PMI, as MPICH's does,", "PMI_RANK", "PMI_SIZE",
     nullptr, nullptr, ""},
    {"MVAPICH's mpirun_rsh", "MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE",
     nullptr, nullptr, ""},
    {"flux run", "FLUX_TASK_RANK", "FLUX_JOB_SIZE", nullptr, nullptr, ""},
    {"jsrun", "JSM_NAMESPACE_RANK", "JSM_NAMESPACE_SIZE", nullptr, nullptr, ""},
    {"torchrun or the like", "RANK", "WORLD_SIZE", "MASTER_ADDR", nullptr, ""},
};

std::optional<int> ReadNumber(const char* name) {
  const char* text = std::getenv(name);
  int number = 0;
  if (text == nullptr || !absl::SimpleAtoi(text, &number)) return std::nullopt;
  return number;
}

bool IsSet(const char* name) {
  const char* text = std::getenv(name);
  return text != nullptr && *text != '\0';
}

}  // namespace

std::optional<ForeignLauncher> FindForeignLauncher() {
  if (ReadLauncherEnvironment().launched) return std::nullopt;
  for (const Launcher& launcher : kLaunchers) {
    const int rank = ReadNumber(launcher.rank).value_or(-1);
    const int world = ReadNumber(launcher.size).value_or(0);
    if (rank < 0 || world < 2 || rank >= world) continue;
    if (launcher.beside != nullptr && !IsSet(launcher.beside)) continue;
    if (launcher.confirms != nullptr &&
        ReadNumber(launcher.confirms).value_or(world) != world)
      continue;
    return ForeignLauncher{
        .rank = rank,
        .world = world,
        .message = absl::StrCat(
            "this is one of ", world, " processes that ", launcher.name,
            " started (", launcher.rank, ", ", launcher.size,
            "), but Open MPI cannot join them, and each would be a run of its "
            "own; start them with ",
            launcher.instead, "launch/run.sh -n ", world,
            "; a process that is meant to be alone needs ", launcher.rank,
            " unset")};
  }
  return std::nullopt;
}

}  // namespace moe
