#ifndef COMM_MPI_MPI_PROGRESS_H_
#define COMM_MPI_MPI_PROGRESS_H_

#include <vector>

#include "comm/mpi/await.h"

namespace moe {

class MpiWork;

// What the groups of a process share while they wait. Of its MpiRuntime, which
// outlives them; touched by the one thread that calls MPI.
struct MpiProgress {
  AwaitOptions await_options;
  // Works of all groups whose stage 2 has yet to start: every Test of one moves
  // them on (mpi_work.h).
  std::vector<MpiWork*> works_before_stage2;
};

}  // namespace moe

#endif  // COMM_MPI_MPI_PROGRESS_H_
