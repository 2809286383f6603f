#include "trainer/checkpoint/store/retention.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "comm/base/status_macros.h"
#include "data/storage/temporary_path.h"
#include "trainer/checkpoint/format/checkpoint_directory.h"
#include "trainer/checkpoint/format/manifest.h"

namespace moe {
namespace {

struct Candidate {
  int64_t step = 0;
  std::string path;
  std::optional<double> valid_loss = std::nullopt;
};

// The complete checkpoints, the newest first.
absl::StatusOr<std::vector<Candidate>> Candidates(
    FileSystem& files, const std::string& directory) {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, files.List(directory));
  std::vector<Candidate> candidates;
  for (const std::string& name : names) {
    const std::optional<int64_t> step = StepOfDirectory(name);
    if (!step.has_value()) continue;
    Candidate candidate{.step = *step, .path = JoinPath(directory, name)};
    const auto manifest = ReadManifest(files, candidate.path);
    if (!manifest.ok()) continue;
    if (manifest->has_valid_loss() && std::isfinite(manifest->valid_loss()))
      candidate.valid_loss = manifest->valid_loss();
    candidates.push_back(candidate);
  }
  std::sort(
      candidates.begin(), candidates.end(),
      [](const Candidate& a, const Candidate& b) { return a.step > b.step; });
  return candidates;
}

// Renamed first: a half-deleted checkpoint has no name that counts.
absl::Status Delete(FileSystem& files, const std::string& path) {
  const std::string temporary = absl::StrCat(path, kTemporarySuffix);
  RETURN_IF_ERROR(files.Remove(temporary));
  RETURN_IF_ERROR(files.Rename(path, temporary));
  TemporaryPath rest(files, temporary);
  const absl::Status removed = files.Remove(temporary);
  rest.Release();  // what could not be removed now, the next start removes
  return removed;
}

}  // namespace

absl::Status DeleteOldCheckpoints(FileSystem& files,
                                  const std::string& directory,
                                  const Retention& retention) {
  ASSIGN_OR_RETURN(const std::vector<Candidate> candidates,
                   Candidates(files, directory));
  const Candidate* best = nullptr;
  for (const Candidate& candidate : candidates) {
    if (!retention.keep_best || !candidate.valid_loss.has_value()) continue;
    if (best == nullptr || *candidate.valid_loss <= *best->valid_loss)
      best = &candidate;
  }
  absl::Status status;
  for (size_t i = static_cast<size_t>(retention.keep); i < candidates.size();
       ++i) {
    if (&candidates[i] != best)
      status.Update(Delete(files, candidates[i].path));
  }
  return status;
}

absl::Status RemoveTemporaries(FileSystem& files,
                               const std::string& directory) {
  if (!files.IsDirectory(directory)) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::vector<std::string> names, files.List(directory));
  absl::Status status;
  for (const std::string& name : names) {
    absl::string_view stem = name;
    if (absl::ConsumeSuffix(&stem, kTemporarySuffix) &&
        StepOfDirectory(stem).has_value())
      status.Update(files.Remove(JoinPath(directory, name)));
  }
  return status;
}

}  // namespace moe
