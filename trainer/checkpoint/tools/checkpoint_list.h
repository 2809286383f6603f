#ifndef TRAINER_CHECKPOINT_TOOLS_CHECKPOINT_LIST_H_
#define TRAINER_CHECKPOINT_TOOLS_CHECKPOINT_LIST_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "data/storage/file_system.h"
#include "trainer/checkpoint/format/manifest.h"

namespace moe {

// One directory of a run's checkpoints, as names, sizes and manifests tell;
// no bytes are verified.
struct ListedCheckpoint {
  enum class State {
    kComplete,    // every file is there in its size
    kFaulty,      // `problems` says why it is not
    kNewer,       // a newer version of this program wrote it: `problems`
    kSetAside,    // step_NNNNNNNN.damaged: a resuming run found it damaged
    kUnfinished,  // step_NNNNNNNN.tmp: being written, or left by a crash
  };

  std::string name;
  int64_t step = 0;
  State state = State::kComplete;
  std::vector<std::string> problems;
  int64_t num_bytes = 0;  // of the files that are there
  std::optional<CheckpointManifest> manifest;
  // Of a sample; 0 if the checkpoint does not tell.
  int64_t sequence_length = 0;
};

// "complete", "faulty", "newer", "damaged", "unfinished".
const char* Name(ListedCheckpoint::State state);

// What is in a run's directory, or in its checkpoints/, by step. NotFound: no
// checkpoint is there. FailedPrecondition: it is no directory, or one
// checkpoint.
absl::StatusOr<std::vector<ListedCheckpoint>> ListCheckpoints(
    FileSystem& files, const std::string& path);

// The files of a manifest that are missing or of another size, a line each.
std::vector<std::string> SizeProblems(FileSystem& files,
                                      const std::string& directory,
                                      const CheckpointManifest& manifest);

// `message` without DIRECTORY/ before a file's name.
std::string WithoutDirectory(absl::string_view message,
                             const std::string& directory);

}  // namespace moe

#endif  // TRAINER_CHECKPOINT_TOOLS_CHECKPOINT_LIST_H_
