#ifndef COMM_MPI_STAGING_POOL_H_
#define COMM_MPI_STAGING_POOL_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "comm/base/buffer.h"

namespace moe {

// Memory for messages that arrive before they can be added. Keeps what it
// made: once every size has been in use as often at a time as it ever will be,
// it makes no more Buffers.
class StagingPool {
 public:
  // At least `num_bytes`, with contents of any kind.
  absl::StatusOr<Buffer> Take(int64_t num_bytes);
  void Return(Buffer buffer);

  // For memory that MPI may still write to, after an error: never handed out
  // again, and freed with the pool.
  void Retire(Buffer buffer);

 private:
  std::vector<Buffer> free_;
  std::vector<Buffer> retired_;
};

}  // namespace moe

#endif  // COMM_MPI_STAGING_POOL_H_
