#include "trainer/run_directory.h"

#include <unistd.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "comm/process_groups.h"
#include "comm/status_macros.h"
#include "trainer/config_text.h"

namespace moe {
namespace {

constexpr int64_t kMaxTokenBytes = 4096;

absl::Status RefuseUsed(FileSystem& files, const RunDirectory& run) {
  for (const std::string& path : {run.metrics(), run.checkpoints()}) {
    if (!files.Exists(path)) continue;
    return absl::AlreadyExistsError(
        absl::StrCat("run.directory is ", run.path(),
                     ", where a run has been already (", path,
                     " exists): this version does not resume; give another "
                     "run.directory, or remove that one"));
  }
  return absl::OkStatus();
}

absl::Status Make(FileSystem& files, const RunDirectory& run,
                  const TrainConfig& config, const std::string& token_path,
                  const std::string& token) {
  RETURN_IF_ERROR(RefuseUsed(files, run));
  RETURN_IF_ERROR(files.MakeDirectories(run.data()));
  RETURN_IF_ERROR(
      WriteFileAtomically(files, run.config(), PrintConfig(config)));
  return WriteFileAtomically(files, token_path, token);
}

// That this rank reads what rank 0 wrote.
absl::Status CheckShared(FileSystem& files, const RunDirectory& run,
                         const std::string& token_path,
                         const std::string& token) {
  const absl::StatusOr<std::string> seen =
      files.ReadFile(token_path, kMaxTokenBytes);
  if (seen.ok() && *seen == token) return absl::OkStatus();
  char host[256] = {};
  gethostname(host, sizeof(host) - 1);
  return absl::InvalidArgumentError(absl::StrCat(
      "run.directory is ", run.path(), ", which on node ", host,
      " is not the directory that rank 0 sees: it must lie on a file system "
      "that all nodes share"));
}

}  // namespace

absl::Status ClaimRunDirectory(FileSystem& files, const RunDirectory& run,
                               const TrainConfig& config, ProcessGroup& world) {
  int64_t stamp = absl::GetCurrentTimeNanos();
  RETURN_IF_ERROR(
      world.Broadcast(ViewOf(absl::MakeSpan(&stamp, 1)), /*root=*/0));
  const std::string token = absl::StrCat("run started at ", stamp, "\n");
  const std::string token_path = JoinPath(run.data(), "started");
  absl::Status status;
  if (world.rank() == 0) status = Make(files, run, config, token_path, token);
  RETURN_IF_ERROR(AgreeOnStatus(status, world));
  RETURN_IF_ERROR(
      AgreeOnStatus(CheckShared(files, run, token_path, token), world));
  if (world.rank() == 0) status = files.Remove(token_path);
  return AgreeOnStatus(status, world);
}

}  // namespace moe
