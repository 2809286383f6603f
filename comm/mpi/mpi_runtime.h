#ifndef COMM_MPI_MPI_RUNTIME_H_
#define COMM_MPI_MPI_RUNTIME_H_

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "comm/base/cores.h"  // AvailableCores
#include "comm/mpi/mpi_progress.h"

namespace moe {

// What the launcher's environment says, before and without MPI_Init: Open
// MPI's mpirun (OMPI_COMM_WORLD_*), srun --mpi=pmix (PMIX_RANK, SLURM_*).
struct LauncherEnvironment {
  bool launched = false;  // by mpirun or srun; else this is the only process
  int rank = 0;
  int world = 1;
};
LauncherEnvironment ReadLauncherEnvironment();

// MPI from initialisation to finalisation: one per process, held by main. Not
// initialised at all when no launcher started the process.
class MpiRuntime {
 public:
  // Initialises MPI (MPI_THREAD_FUNNELED, errors return) if a launcher started
  // this process, and decides from the ranks and cores of this node how it
  // waits.
  // Unavailable when MPI fails; ResourceExhausted: its threads cannot be had.
  static absl::StatusOr<std::unique_ptr<MpiRuntime>> Start(
      absl::Duration collective_timeout);
  ~MpiRuntime();  // MPI_Finalize, if it was initialised and not aborted
  MpiRuntime(const MpiRuntime&) = delete;
  MpiRuntime& operator=(const MpiRuntime&) = delete;

  int rank() const { return rank_; }
  int world() const { return world_; }
  // Ranks on this node, and this rank's position among them.
  int local_rank() const { return local_rank_; }
  int local_size() const { return local_size_; }
  // False without a launcher: groups are then MakeSingleGroup.
  bool initialized() const { return initialized_; }
  // This rank's share of the node's cores, at least 1: threads to compute
  // with.
  int cores_per_rank() const { return cores_per_rank_; }
  // Cores of this node that any of its ranks may use.
  int node_cores() const { return node_cores_; }

  // How its groups wait, and what they share while they do.
  MpiProgress& progress() const { return *progress_; }

  // Ends this process and, under a launcher, all others with `exit_code`: for
  // an error that the other ranks do not know of, since they would wait for
  // this one for ever.
  [[noreturn]] void Abort(int exit_code) const;

 private:
  MpiRuntime() = default;
  absl::Status Initialize();

  int rank_ = 0;
  int world_ = 1;
  int local_rank_ = 0;
  int local_size_ = 1;
  int cores_per_rank_ = 1;
  int node_cores_ = 1;
  bool initialized_ = false;
  const std::unique_ptr<MpiProgress> progress_ =
      std::make_unique<MpiProgress>();
};

}  // namespace moe

#endif  // COMM_MPI_MPI_RUNTIME_H_
