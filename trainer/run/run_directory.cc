#include "trainer/run/run_directory.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "comm/base/status_macros.h"
#include "comm/mpi/roster.h"
#include "comm/process_groups.h"
#include "trainer/config/config_text.h"

namespace moe {
namespace {

constexpr int64_t kMaxTokenBytes = 4096;

absl::StatusOr<std::unique_ptr<FileLock>> Acquire(const std::string& path,
                                                  FileLock::Mode mode,
                                                  const Patience& patience) {
  return FileLock::Acquire(
      path, mode, patience.time,
      [&](const std::string& taker, absl::Duration longest) {
        patience.say(absl::StrCat(
            "waiting for up to ", absl::FormatDuration(longest),
            " for another run to give up ", path, ", taken by ", taker));
      });
}

// Alone in the directory: no other job is starting there, and no rank of an
// earlier one is left.
absl::StatusOr<std::unique_ptr<FileLock>> LockAlone(const RunDirectory& run,
                                                    const Patience& patience) {
  absl::StatusOr<std::unique_ptr<FileLock>> lock =
      Acquire(run.lock(), FileLock::Mode::kExclusive, patience);
  absl::Status status = lock.status();
  if (status.ok()) {
    status = Acquire(run.ranks_lock(), FileLock::Mode::kExclusive, patience)
                 .status();
  }
  if (absl::IsAlreadyExists(status)) {
    return absl::AlreadyExistsError(
        absl::StrCat("run.directory is ", run.path(),
                     ", where another job is running: ", status.message()));
  }
  RETURN_IF_ERROR(status);
  return lock;
}

// What keeps other jobs out where there is no flock; empty where there is.
std::string LockWarning(const RunDirectory& run, FileLock::Kind kind) {
  if (kind == FileLock::Kind::kFlock) return "";
  const std::string where =
      absl::StrCat("warning: run.directory is ", run.path(),
                   ", on a file system without flock; ");
  if (kind == FileLock::Kind::kFcntl)
    return absl::StrCat(where, "locks of fcntl keep other jobs out");
  return absl::StrCat(
      where,
      "without locks of fcntl too, files *.held keep other jobs out: a "
      "job that is suspended for longer than a minute may be taken for dead");
}

absl::StatusOr<std::unique_ptr<FileLock>> Make(FileSystem& files,
                                               const RunDirectory& run,
                                               const TrainConfig& config,
                                               const std::string& token_path,
                                               const std::string& token,
                                               const Patience& patience) {
  RETURN_IF_ERROR(CheckRunDirectory(run));
  RETURN_IF_ERROR(MakeDurableDirectories(files, run.data()));
  ASSIGN_OR_RETURN(std::unique_ptr<FileLock> lock, LockAlone(run, patience));
  if (const std::string warning = LockWarning(run, lock->kind());
      !warning.empty())
    patience.say(warning);
  RETURN_IF_ERROR(
      WriteFileAtomically(files, run.config(), PrintConfig(config)));
  RETURN_IF_ERROR(WriteFileAtomically(files, token_path, token));
  return lock;
}

// That this rank reads what rank 0 wrote.
absl::Status CheckShared(FileSystem& files, const RunDirectory& run,
                         const std::string& token_path,
                         const std::string& token) {
  const absl::StatusOr<std::string> seen =
      files.ReadFile(token_path, kMaxTokenBytes);
  if (seen.ok() && *seen == token) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "run.directory is ", run.path(), ", which on node ", ThisMember().host,
      " is not the directory that rank 0 sees: it must lie on a file system "
      "that all nodes share"));
}

}  // namespace

absl::Status CheckRunDirectory(const RunDirectory& run) {
  std::error_code error;
  std::filesystem::path there = std::filesystem::absolute(run.path(), error);
  while (!std::filesystem::exists(there, error) && there.has_relative_path())
    there = there.parent_path();
  // With a dot, so that a file is refused as no directory.
  if (access((there / ".").c_str(), W_OK | X_OK) == 0) return absl::OkStatus();
  return absl::AbortedError(absl::StrCat(
      "run.directory is ", run.path(), ", which cannot be written to: ",
      there.string(), ": ", std::strerror(errno)));
}

absl::StatusOr<RunDirectoryLocks> ClaimRunDirectory(FileSystem& files,
                                                    const RunDirectory& run,
                                                    const TrainConfig& config,
                                                    ProcessGroup& world,
                                                    const Patience& patience) {
  int64_t stamp = absl::GetCurrentTimeNanos();
  RETURN_IF_ERROR(
      world.Broadcast(ViewOf(absl::MakeSpan(&stamp, 1)), /*root=*/0));
  const std::string token = absl::StrCat("run started at ", stamp, "\n");
  const std::string token_path = JoinPath(run.data(), "started");
  absl::StatusOr<std::unique_ptr<FileLock>> job = nullptr;
  if (world.rank() == 0)
    job = Make(files, run, config, token_path, token, patience);
  RETURN_IF_ERROR(AgreeOnStatus(job.status(), world));
  RETURN_IF_ERROR(
      AgreeOnStatus(CheckShared(files, run, token_path, token), world));
  absl::StatusOr<std::unique_ptr<FileLock>> ranks =
      Acquire(run.ranks_lock(), FileLock::Mode::kShared, patience);
  RETURN_IF_ERROR(AgreeOnStatus(ranks.status(), world));
  absl::Status removed;
  if (world.rank() == 0) removed = files.Remove(token_path);
  RETURN_IF_ERROR(AgreeOnStatus(removed, world));
  return RunDirectoryLocks{*std::move(job), *std::move(ranks)};
}

}  // namespace moe
