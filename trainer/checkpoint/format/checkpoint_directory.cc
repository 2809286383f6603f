#include "trainer/checkpoint/format/checkpoint_directory.h"

#include <vector>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "comm/base/status_macros.h"

namespace moe {
namespace {

constexpr absl::string_view kStepPrefix = "step_";

// The newest complete step in `directory`; empty if there is none.
absl::StatusOr<std::string> NewestStep(FileSystem& files,
                                       const std::string& directory) {
  if (!files.IsDirectory(directory)) return std::string();
  ASSIGN_OR_RETURN(const std::vector<std::string> names, files.List(directory));
  int64_t newest_step = -1;
  std::string newest;
  for (const std::string& name : names) {
    const std::optional<int64_t> step = StepOfDirectory(name);
    if (!step.has_value() || *step <= newest_step) continue;
    const std::string path = JoinPath(directory, name);
    if (!files.Exists(JoinPath(path, kConfigFile))) continue;
    newest_step = *step;
    newest = path;
  }
  return newest;
}

}  // namespace

std::string CheckpointsDirectory(const std::string& run_directory) {
  return JoinPath(run_directory, "checkpoints");
}

std::string StepDirectoryName(int64_t step) {
  return absl::StrFormat("step_%08d", step);
}

std::optional<int64_t> StepOfDirectory(absl::string_view name) {
  int64_t step = 0;
  if (!absl::ConsumePrefix(&name, kStepPrefix) || name.size() < 8 ||
      name.find_first_not_of("0123456789") != name.npos ||
      !absl::SimpleAtoi(name, &step)) {
    return std::nullopt;
  }
  return step;
}

std::string WeightsFileName(int index, int count) {
  return absl::StrFormat("model-%05d-of-%05d.safetensors", index + 1, count);
}

std::string StateFileName(int index, int count) {
  return absl::StrFormat("%s%05d-of-%05d.safetensors", kStateFilePrefix,
                         index + 1, count);
}

absl::StatusOr<std::string> FindCheckpoint(FileSystem& files,
                                           const std::string& path) {
  if (!files.Exists(path))
    return absl::NotFoundError(absl::StrCat(path, ": no such directory"));
  if (files.Exists(JoinPath(path, kConfigFile))) return path;
  for (const std::string& directory : {path, CheckpointsDirectory(path)}) {
    ASSIGN_OR_RETURN(std::string newest, NewestStep(files, directory));
    if (!newest.empty()) return newest;
  }
  return absl::NotFoundError(
      absl::StrCat(path, " holds no checkpoint: neither ", kConfigFile,
                   " nor step_NNNNNNNN/ nor checkpoints/step_NNNNNNNN/"));
}

}  // namespace moe
