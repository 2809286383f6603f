#include "trainer/checkpoint/store/checkpoint_finder.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "comm/base/status_macros.h"
#include "comm/process_groups.h"
#include "trainer/checkpoint/format/checkpoint_directory.h"

namespace moe {
namespace {

// Steps that have a directory, the newest first, as rank 0 sees them.
absl::StatusOr<std::vector<int64_t>> Steps(FileSystem& files,
                                           const std::string& directory,
                                           ProcessGroup& world) {
  std::vector<int64_t> steps;
  absl::Status status;
  if (world.rank() == 0 && files.IsDirectory(directory)) {
    absl::StatusOr<std::vector<std::string>> names = files.List(directory);
    status = names.status();
    if (names.ok()) {
      for (const std::string& name : *names) {
        const std::optional<int64_t> step = StepOfDirectory(name);
        if (step.has_value()) steps.push_back(*step);
      }
    }
  }
  RETURN_IF_ERROR(AgreeOnStatus(status, world));
  std::sort(steps.rbegin(), steps.rend());
  int64_t count = static_cast<int64_t>(steps.size());
  RETURN_IF_ERROR(
      world.Broadcast(ViewOf(absl::MakeSpan(&count, 1)), /*root=*/0));
  steps.resize(static_cast<size_t>(count));
  RETURN_IF_ERROR(world.Broadcast(ViewOf(absl::MakeSpan(steps)), /*root=*/0));
  return steps;
}

absl::Status SetAside(FileSystem& files, const std::string& path) {
  const std::string damaged = absl::StrCat(path, kDamagedSuffix);
  RETURN_IF_ERROR(files.Remove(damaged));
  return files.Rename(path, damaged);
}

}  // namespace

absl::StatusOr<FoundCheckpoint> VerifyCheckpoint(FileSystem& files,
                                                 const std::string& path,
                                                 ProcessGroup& world,
                                                 Verify verify) {
  absl::StatusOr<CheckpointManifest> manifest = ReadManifest(files, path);
  absl::Status status = manifest.status();
  const std::optional<int64_t> step =
      StepOfDirectory(path.substr(path.find_last_of('/') + 1));
  if (status.ok() && step.has_value() && *step != manifest->step()) {
    status = absl::DataLossError(absl::StrCat(
        path, " has the manifest of another step, ", manifest->step()));
  }
  if (status.ok() && verify == Verify::kBytes) {
    status = VerifyShare(
        files, path, {manifest->file().begin(), manifest->file().end()}, world);
  }
  RETURN_IF_ERROR(AgreeOnStatus(status, world));
  return FoundCheckpoint{path, *std::move(manifest)};
}

absl::Status VerifyShare(FileSystem& files, const std::string& path,
                         const std::vector<CheckpointManifest::File>& listed,
                         const ProcessGroup& world) {
  const size_t step = static_cast<size_t>(world.size());
  for (size_t i = static_cast<size_t>(world.rank()); i < listed.size();
       i += step)
    RETURN_IF_ERROR(VerifyFile(files, path, listed[i]));
  return absl::OkStatus();
}

absl::StatusOr<std::optional<FoundCheckpoint>> FindNewestCheckpoint(
    FileSystem& files, const std::string& directory, Damaged damaged,
    ProcessGroup& world, const std::function<void(const std::string&)>& say,
    Verify verify) {
  ASSIGN_OR_RETURN(const std::vector<int64_t> steps,
                   Steps(files, directory, world));
  for (int64_t step : steps) {
    const std::string path = JoinPath(directory, StepDirectoryName(step));
    absl::StatusOr<FoundCheckpoint> found =
        VerifyCheckpoint(files, path, world, verify);
    if (found.ok()) return *std::move(found);
    // Not damaged: it may not be read, or a newer version understands it.
    if (!IsAgreed(found.status()) || absl::IsPermissionDenied(found.status()) ||
        absl::IsUnimplemented(found.status()))
      return found.status();
    absl::Status set_aside;
    if (world.rank() == 0) {
      const bool renames = damaged == Damaged::kSetAside;
      if (renames) set_aside = SetAside(files, path);
      const bool renamed = renames && set_aside.ok();
      say(absl::StrCat("passing over ", path, renamed ? ", now called *" : "",
                       renamed ? kDamagedSuffix : "", ": ",
                       found.status().message()));
    }
    RETURN_IF_ERROR(AgreeOnStatus(set_aside, world));
  }
  return std::nullopt;
}

}  // namespace moe
