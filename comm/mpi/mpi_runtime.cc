#include "comm/mpi/mpi_runtime.h"

#include <mpi.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "absl/strings/numbers.h"
#include "comm/base/quiet_thread.h"
#include "comm/base/status_macros.h"
#include "comm/mpi/await.h"
#include "comm/mpi/mpi_status.h"

namespace moe {
namespace {

// At a time, at most, as measured of Open MPI 4.1.
constexpr int kThreadsOfMpi = 3;

// True and *value set if the environment has `name` as a number.
bool ReadNumber(const char* name, int* value) {
  const char* text = std::getenv(name);
  return text != nullptr && absl::SimpleAtoi(text, value);
}

// The ranks on this node, and the cores that are theirs.
struct Node {
  int local_rank = 0;
  int local_size = 1;
  int cores = 1;
};

absl::StatusOr<Node> FindNode() {
  MPI_Comm local = MPI_COMM_NULL;
  RETURN_IF_ERROR(
      MpiStatus(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0,
                                    MPI_INFO_NULL, &local),
                "finding the ranks of this node"));
  Node node;
  MPI_Comm_rank(local, &node.local_rank);
  MPI_Comm_size(local, &node.local_size);
  // The union of the ranks' masks: mpirun may have bound each to its own core.
  cpu_set_t mask = AffinityMask();
  const absl::Status status =
      MpiStatus(MPI_Allreduce(MPI_IN_PLACE, &mask, sizeof(mask), MPI_BYTE,
                              MPI_BOR, local),
                "gathering the affinity masks of this node");
  MPI_Comm_free(&local);
  RETURN_IF_ERROR(status);
  node.cores = CoresWithin(mask);
  return node;
}

}  // namespace

LauncherEnvironment ReadLauncherEnvironment() {
  LauncherEnvironment environment;
  if (ReadNumber("OMPI_COMM_WORLD_RANK", &environment.rank) &&
      ReadNumber("OMPI_COMM_WORLD_SIZE", &environment.world)) {
    environment.launched = true;
    return environment;
  }
  // A batch script's own shell has SLURM_NTASKS too, but no PMIX_RANK.
  int pmix_rank = 0;
  if (ReadNumber("PMIX_RANK", &pmix_rank) &&
      ReadNumber("SLURM_PROCID", &environment.rank) &&
      ReadNumber("SLURM_NTASKS", &environment.world)) {
    environment.launched = true;
    return environment;
  }
  return {};
}

absl::StatusOr<std::unique_ptr<MpiRuntime>> MpiRuntime::Start(
    absl::Duration collective_timeout) {
  std::unique_ptr<MpiRuntime> runtime(new MpiRuntime());
  runtime->node_cores_ = AvailableCores();
  runtime->cores_per_rank_ = runtime->node_cores_;
  AwaitOptions& await_options = runtime->progress_->await_options;
  await_options.timeout = collective_timeout;
  if (ReadLauncherEnvironment().launched) {
    RETURN_IF_ERROR(runtime->Initialize());
    ASSIGN_OR_RETURN(const Node node, FindNode());
    runtime->local_rank_ = node.local_rank;
    runtime->local_size_ = node.local_size;
    runtime->node_cores_ = node.cores;
    runtime->cores_per_rank_ =
        std::clamp(node.cores / node.local_size, 1, runtime->cores_per_rank_);
    await_options.oversubscribed = node.local_size > node.cores;
  }
  return runtime;
}

absl::Status MpiRuntime::Initialize() {
  // Where it is refused one of its threads, Open MPI leaves the other ranks
  // waiting for this one.
  RETURN_IF_ERROR(ProbeThreads("mpi", kThreadsOfMpi));
  const BlockingCall call("start of MPI", "world", /*first_rank=*/0);
  int provided = MPI_THREAD_SINGLE;
  RETURN_IF_ERROR(MpiStatus(
      MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided),
      "initialising MPI"));
  initialized_ = true;
  if (provided < MPI_THREAD_FUNNELED)
    return absl::UnavailableError(
        "initialising MPI: this MPI does not allow threads beside the one "
        "that calls it (MPI_THREAD_FUNNELED)");
  RETURN_IF_ERROR(
      MpiStatus(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN),
                "setting the error handler of the world"));
  RETURN_IF_ERROR(
      MpiStatus(MPI_Comm_set_errhandler(MPI_COMM_SELF, MPI_ERRORS_RETURN),
                "setting the error handler of this process"));
  MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
  MPI_Comm_size(MPI_COMM_WORLD, &world_);
  return absl::OkStatus();
}

MpiRuntime::~MpiRuntime() {
  if (!initialized_) return;
  const BlockingCall call("end of MPI", "world", /*first_rank=*/0);
  MPI_Finalize();
}

void MpiRuntime::Abort(int exit_code) const {
  std::fflush(nullptr);
  if (initialized_) MPI_Abort(MPI_COMM_WORLD, exit_code);
  std::_Exit(exit_code);
}

}  // namespace moe
