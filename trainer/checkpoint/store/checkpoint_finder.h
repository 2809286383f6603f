#ifndef TRAINER_CHECKPOINT_STORE_CHECKPOINT_FINDER_H_
#define TRAINER_CHECKPOINT_STORE_CHECKPOINT_FINDER_H_

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "comm/process_group.h"
#include "data/storage/file_system.h"
#include "trainer/checkpoint/format/manifest.h"

namespace moe {

struct FoundCheckpoint {
  std::string path;
  CheckpointManifest manifest;
};

// How much of a checkpoint is looked at.
enum class Verify {
  kBytes,  // every one of its files, which the ranks share
  kSizes,  // nothing is read but the manifest
};

// Reads the manifest of `path` and looks at its files. Collective; the same
// result on all. Errors as ReadManifest and VerifyFile.
absl::StatusOr<FoundCheckpoint> VerifyCheckpoint(
    FileSystem& files, const std::string& path, ProcessGroup& world,
    Verify verify = Verify::kBytes);

// This rank's share of that alone, of these files. Calls no collective.
absl::Status VerifyShare(FileSystem& files, const std::string& path,
                         const std::vector<CheckpointManifest::File>& listed,
                         const ProcessGroup& world);

// What becomes of a checkpoint that is damaged.
enum class Damaged {
  kSetAside,  // renamed to step_NNNNNNNN.damaged: a new one can take its name
  kLeave,     // it is another run's, perhaps on a disk that is only read
};

// The newest checkpoint in `directory` that is whole; nothing if there is none.
// One that is damaged is told of by `say` on rank 0, with the reason.
// PermissionDenied: one may not be read, which says nothing about it.
// Unimplemented: a newer version of this program wrote it.
// Collective; an error is the same on all ranks.
absl::StatusOr<std::optional<FoundCheckpoint>> FindNewestCheckpoint(
    FileSystem& files, const std::string& directory, Damaged damaged,
    ProcessGroup& world, const std::function<void(const std::string&)>& say,
    Verify verify = Verify::kBytes);

}  // namespace moe

#endif  // TRAINER_CHECKPOINT_STORE_CHECKPOINT_FINDER_H_
