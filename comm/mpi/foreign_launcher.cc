#include "comm/mpi/foreign_launcher.h"

#include <cstdlib>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "comm/mpi/mpi_runtime.h"

namespace moe {
namespace {

// How a launcher tells its processes who they are.
struct Launcher {
  const char* name;
  const char* rank;
  const char* size;  // null: it does not say
  // Must be there too, null: nothing; for names that others use.
  const char* beside;
  // Must be equal to the size if it is there, null: nothing.
  const char* confirms;
  const char* instead;  // what to type, before the words of launch/run.sh
  // Of one that says no size: how many there are on this node, null: nothing.
  const char* node_size = nullptr;
};

// The first that fits is told of: who starts processes for another's library
// (srun and flux run for MPICH's and Cray's) comes before that.
constexpr Launcher kLaunchers[] = {
    // sbatch passes the words of a step in which it is typed on to the batch
    // script, but for the number of tasks, which is the new job's.
    {"srun", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", nullptr, "SLURM_NTASKS",
     "srun --mpi=pmix, or "},
    {"flux run", "FLUX_TASK_RANK", "FLUX_JOB_SIZE", nullptr, nullptr, ""},
    // Cray PALS (mpiexec, aprun of a later day): how many there are is a word
    // of its PMI, which it can be told to leave out; its own are of this node.
    {"Cray PALS", "PALS_RANKID", "PMI_SIZE", nullptr, nullptr, ""},
    {"Cray PALS", "PALS_RANKID", nullptr, nullptr, nullptr, "",
     "PALS_LOCAL_SIZE"},
    // MPICH's mpiexec, Intel's mpirun, srun --mpi=pmi2.
    {"a launcher that speaks PMI, as MPICH's does,", "PMI_RANK", "PMI_SIZE",
     nullptr, nullptr, ""},
    // Cray ALPS, which has no word for how many there are.
    {"aprun", "ALPS_APP_PE", nullptr, nullptr, nullptr, ""},
    {"MVAPICH's mpirun_rsh", "MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE",
     nullptr, nullptr, ""},
    {"jsrun", "JSM_NAMESPACE_RANK", "JSM_NAMESPACE_SIZE", nullptr, nullptr, ""},
    {"torchrun or the like", "RANK", "WORLD_SIZE", "MASTER_ADDR", nullptr, ""},
};

std::optional<int> ReadNumber(const char* name) {
  const char* text = std::getenv(name);
  int number = 0;
  if (text == nullptr || !absl::SimpleAtoi(text, &number)) return std::nullopt;
  return number;
}

// How many the launcher has on this node, where that is a word of its and says
// that the process is not alone; else 0.
int CountOnNode(const Launcher& launcher) {
  if (launcher.node_size == nullptr) return 0;
  const int count = ReadNumber(launcher.node_size).value_or(0);
  return count < 2 ? 0 : count;
}

bool IsSet(const char* name) {
  const char* text = std::getenv(name);
  return text != nullptr && *text != '\0';
}

// Who this process is; `world` and `on_node` are 0 where they are not known.
std::string Who(const Launcher& launcher, int rank, int world, int on_node) {
  if (world > 0)
    return absl::StrCat("one of ", world, " processes that ", launcher.name,
                        " started (", launcher.rank, ", ", launcher.size, ")");
  if (on_node > 0)
    return absl::StrCat("one of at least ", on_node, " processes that ",
                        launcher.name, " started, ", on_node,
                        " of them on this node (", launcher.rank, ", ",
                        launcher.node_size, ")");
  return absl::StrCat("process ", rank, " of several that ", launcher.name,
                      " started (", launcher.rank, ")");
}

std::string Message(const Launcher& launcher, int rank, int world,
                    int on_node) {
  return absl::StrCat(
      "this is ", Who(launcher, rank, world, on_node),
      ", but Open MPI cannot join them, and each would do all of the work by "
      "itself; start them with ",
      launcher.instead, "launch/run.sh -n ",
      world == 0 ? "RANKS" : absl::StrCat(world),
      "; a process that is meant to be alone needs ", launcher.rank, " unset");
}

}  // namespace

std::optional<ForeignLauncher> FindForeignLauncher() {
  if (ReadLauncherEnvironment().launched) return std::nullopt;
  for (const Launcher& launcher : kLaunchers) {
    const int rank = ReadNumber(launcher.rank).value_or(-1);
    if (launcher.size == nullptr) {
      const int on_node = CountOnNode(launcher);
      const int first = on_node > 0 ? 0 : 1;  // rank 0 may be alone
      if (rank < first) continue;
      return ForeignLauncher{
          .rank = rank,
          .world = 0,
          .is_first = rank == first,
          .message = Message(launcher, rank, /*world=*/0, on_node)};
    }
    const int world = ReadNumber(launcher.size).value_or(0);
    if (rank < 0 || world < 2 || rank >= world) continue;
    if (launcher.beside != nullptr && !IsSet(launcher.beside)) continue;
    if (launcher.confirms != nullptr &&
        ReadNumber(launcher.confirms).value_or(world) != world)
      continue;
    return ForeignLauncher{
        .rank = rank,
        .world = world,
        .is_first = rank == 0,
        .message = Message(launcher, rank, world, /*on_node=*/0)};
  }
  return std::nullopt;
}

}  // namespace moe
