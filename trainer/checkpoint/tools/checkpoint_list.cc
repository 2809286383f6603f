#include "trainer/checkpoint/tools/checkpoint_list.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "comm/base/status_macros.h"
#include "trainer/checkpoint/format/checkpoint_directory.h"
#include "trainer/checkpoint/store/stored_checkpoint.h"

namespace moe {
namespace {

using State = ListedCheckpoint::State;

// Nothing for a name that is no checkpoint's.
std::optional<ListedCheckpoint> FromName(const std::string& name) {
  ListedCheckpoint listed;
  listed.name = name;
  absl::string_view stem = name;
  if (absl::ConsumeSuffix(&stem, kTemporarySuffix)) {
    listed.state = State::kUnfinished;
  } else if (absl::ConsumeSuffix(&stem, kDamagedSuffix)) {
    listed.state = State::kSetAside;
  }
  const std::optional<int64_t> step = StepOfDirectory(stem);
  if (!step.has_value()) return std::nullopt;
  listed.step = *step;
  return listed;
}

int64_t BytesIn(FileSystem& files, const std::string& directory) {
  int64_t total = 0;
  const auto names = files.List(directory);
  if (!names.ok()) return 0;
  for (const std::string& name : *names) {
    const auto size = files.FileSize(JoinPath(directory, name));
    if (size.ok()) total += *size;
  }
  return total;
}

// Fills in what the files tell.
void Look(FileSystem& files, const std::string& path,
          ListedCheckpoint& listed) {
  listed.num_bytes = BytesIn(files, path);
  const auto config = ReadTrainConfig(files, path);
  if (config.ok()) listed.sequence_length = config->batch().sequence_length();
  const auto manifest = LoadManifest(files, path);
  if (!manifest.ok()) {
    if (absl::IsUnimplemented(manifest.status()) &&
        listed.state == State::kComplete)
      listed.state = State::kNewer;
    listed.problems.push_back(
        absl::IsNotFound(manifest.status())
            ? absl::StrCat(kManifestFile, " is missing")
            : WithoutDirectory(manifest.status().message(), path));
  } else {
    listed.manifest = *manifest;
    if (manifest->step() != listed.step) {
      listed.problems.push_back(absl::StrCat(
          kManifestFile, " is of another step, ", manifest->step()));
    }
    for (std::string& problem : SizeProblems(files, path, *manifest))
      listed.problems.push_back(std::move(problem));
  }
  if (listed.state == State::kComplete && !listed.problems.empty())
    listed.state = State::kFaulty;
}

absl::StatusOr<std::vector<ListedCheckpoint>> ListIn(
    FileSystem& files, const std::string& directory) {
  std::vector<ListedCheckpoint> all;
  if (!files.IsDirectory(directory)) return all;
  ASSIGN_OR_RETURN(const std::vector<std::string> names, files.List(directory));
  for (const std::string& name : names) {
    std::optional<ListedCheckpoint> listed = FromName(name);
    const std::string path = JoinPath(directory, name);
    if (!listed.has_value() || !files.IsDirectory(path)) continue;
    Look(files, path, *listed);
    all.push_back(*std::move(listed));
  }
  std::sort(all.begin(), all.end(),
            [](const ListedCheckpoint& a, const ListedCheckpoint& b) {
              return std::tie(a.step, a.name) < std::tie(b.step, b.name);
            });
  return all;
}

}  // namespace

const char* Name(State state) {
  switch (state) {
    case State::kComplete:
      return "complete";
    case State::kFaulty:
      return "faulty";
    case State::kNewer:
      return "newer";
    case State::kSetAside:
      return "damaged";
    case State::kUnfinished:
      return "unfinished";
  }
  return "";
}

absl::StatusOr<std::vector<ListedCheckpoint>> ListCheckpoints(
    FileSystem& files, const std::string& path) {
  if (!files.Exists(path))
    return absl::NotFoundError(absl::StrCat(path, ": no such directory"));
  if (!files.IsDirectory(path))
    return absl::FailedPreconditionError(
        absl::StrCat(path, " is no directory, so no run"));
  for (const std::string& directory : {path, CheckpointsDirectory(path)}) {
    ASSIGN_OR_RETURN(std::vector<ListedCheckpoint> all,
                     ListIn(files, directory));
    if (!all.empty()) return all;
  }
  if (files.Exists(JoinPath(path, kConfigFile)) ||
      files.Exists(JoinPath(path, kManifestFile))) {
    return absl::FailedPreconditionError(absl::StrCat(
        path, " is one checkpoint, not a run: inspect shows what it holds"));
  }
  return absl::NotFoundError(
      absl::StrCat(path,
                   " holds no checkpoints: neither step_NNNNNNNN/ nor "
                   "checkpoints/step_NNNNNNNN/"));
}

std::vector<std::string> SizeProblems(FileSystem& files,
                                      const std::string& directory,
                                      const CheckpointManifest& manifest) {
  std::vector<std::string> problems;
  for (const CheckpointManifest::File& file : manifest.file()) {
    const absl::Status status = CheckSize(files, directory, file);
    if (!status.ok())
      problems.push_back(WithoutDirectory(status.message(), directory));
  }
  return problems;
}

std::string WithoutDirectory(absl::string_view message,
                             const std::string& directory) {
  absl::ConsumePrefix(&message, directory);
  if (!absl::ConsumePrefix(&message, "/")) absl::ConsumePrefix(&message, ": ");
  return std::string(message);
}

}  // namespace moe
