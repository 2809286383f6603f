#ifndef COMM_MPI_MPI_GROUP_H_
#define COMM_MPI_MPI_GROUP_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "comm/mesh.h"
#include "comm/mpi/mpi_runtime.h"
#include "comm/process_group.h"
#include "comm/process_groups.h"

namespace moe {

struct MpiGroupOptions {
  // MPI counts are 32-bit; a longer message goes as several of at most this
  // many elements. The default keeps a message of the widest elements to 1 GiB:
  // fabrics count its bytes in 32 bits, too.
  int64_t max_message_elements = int64_t{1} << 27;
};

// A group over the world ranks `members` (this rank among them), by a
// communicator of its own. Collective over the members only; all members pass
// the same `tag`, different for groups made at the same time. `progress`, the
// runtime's, outlives it.
absl::StatusOr<std::unique_ptr<ProcessGroup>> MakeMpiGroup(
    MpiProgress& progress, std::string name, const std::vector<int>& members,
    int tag, const MpiGroupOptions& options = {});

// All groups of `mesh` over MPI. Collective over the world.
absl::StatusOr<ProcessGroups> MakeMpiGroups(const MpiRuntime& runtime,
                                            const Mesh& mesh);

}  // namespace moe

#endif  // COMM_MPI_MPI_GROUP_H_
