#ifndef TRAINER_CHECKPOINT_STORE_RETENTION_H_
#define TRAINER_CHECKPOINT_STORE_RETENTION_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "data/storage/file_system.h"

namespace moe {

// Which checkpoints stay: the newest ones, and the one of the lowest validation
// loss besides. A loss that is not finite is none. Of equal ones the oldest
// counts: its weights are the nearest to those that were validated.
struct Retention {
  int keep = 2;  // at least 1
  bool keep_best = true;
};

// Deletes the others in `directory`. A directory without a readable manifest is
// no checkpoint and is left alone. The first error; the rest is tried all the
// same.
absl::Status DeleteOldCheckpoints(FileSystem& files,
                                  const std::string& directory,
                                  const Retention& retention);

// Removes what crashes have left: every step_NNNNNNNN.tmp in `directory`.
absl::Status RemoveTemporaries(FileSystem& files, const std::string& directory);

}  // namespace moe

#endif  // TRAINER_CHECKPOINT_STORE_RETENTION_H_
