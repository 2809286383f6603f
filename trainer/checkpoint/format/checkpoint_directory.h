#ifndef TRAINER_CHECKPOINT_FORMAT_CHECKPOINT_DIRECTORY_H_
#define TRAINER_CHECKPOINT_FORMAT_CHECKPOINT_DIRECTORY_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/storage/file_system.h"
#include "data/text/hf_tokenizer.h"

namespace moe {

// Where a run keeps its checkpoints:
//
//   RUN/checkpoints/step_00000100/        complete: it has its name by a rename
//   RUN/checkpoints/step_00000200.tmp/    being written, or left by a crash
//   RUN/checkpoints/step_00000150.damaged/  set aside
//
// Inside, under the names that Hugging Face knows:
inline constexpr char kConfigFile[] = "config.json";
inline constexpr char kGenerationConfigFile[] = "generation_config.json";
inline constexpr char kSingleWeightsFile[] = "model.safetensors";
inline constexpr char kWeightsIndexFile[] = "model.safetensors.index.json";
// The tokenizer's are in data/text/hf_tokenizer.h.

// And what only we read:
inline constexpr char kTrainConfigFile[] = "train_config.textproto";
inline constexpr char kStateFilePrefix[] = "optimizer-";

// Ends the name of what is being written, or deleted.
inline constexpr char kTemporarySuffix[] = ".tmp";
// And of a checkpoint that a resuming run has found damaged.
inline constexpr char kDamagedSuffix[] = ".damaged";

std::string CheckpointsDirectory(const std::string& run_directory);

// "step_00000100", and back; nothing for any other name, ".tmp" included.
std::string StepDirectoryName(int64_t step);
std::optional<int64_t> StepOfDirectory(absl::string_view name);

// Number `index` (from 0) of `count` weight files: "model-00001-of-00004...".
std::string WeightsFileName(int index, int count);

// That of rank `index` (from 0) of `count`: "optimizer-00001-of-00016...".
std::string StateFileName(int index, int count);

// The checkpoint that a user means by a path: a directory with a config.json
// itself, or the newest step below it or below its checkpoints/. NotFound says
// where it looked.
absl::StatusOr<std::string> FindCheckpoint(FileSystem& files,
                                           const std::string& path);

}  // namespace moe

#endif  // TRAINER_CHECKPOINT_FORMAT_CHECKPOINT_DIRECTORY_H_
