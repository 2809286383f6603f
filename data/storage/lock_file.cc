#include "data/storage/lock_file.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "comm/base/quiet_thread.h"
#include "comm/base/status_macros.h"
#include "comm/mpi/roster.h"
#include "data/storage/file_system.h"

namespace moe {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxBytes = 4096;

// A short file of /proc, without its last line break.
std::string ReadProc(const std::string& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return "";
  char bytes[1024];
  const ssize_t size = read(file, bytes, sizeof(bytes));
  close(file);
  return std::string(absl::StripSuffix(
      absl::string_view(bytes, size > 0 ? static_cast<size_t>(size) : 0),
      "\n"));
}

// /proc/PID/stat from its third field, the state, on; empty if the system does
// not show it.
std::vector<std::string> StatOf(int pid) {
  const std::string stat = ReadProc(absl::StrCat("/proc/", pid, "/stat"));
  // The name, which may hold anything, ends with the last parenthesis.
  const size_t name_end = stat.rfind(") ");
  if (name_end == std::string::npos) return {};
  return absl::StrSplit(stat.substr(name_end + 2), ' ');
}

// When the process was started, in ticks since the host's start.
std::string StartIn(const std::vector<std::string>& stat) {
  constexpr size_t kStart = 19;  // field 22
  return stat.size() > kStart ? stat[kStart] : "";
}

// Where pids have a meaning: the host since its start, and the container.
std::string Realm() {
  char name[64] = {};
  const ssize_t size = readlink("/proc/self/ns/pid", name, sizeof(name) - 1);
  return absl::StrCat(ReadProc("/proc/sys/kernel/random/boot_id"), " ",
                      absl::string_view(name, size > 0 ? size : 0));
}

// What a file says of its owner, a line each.
struct Owner {
  int pid = 0;
  std::string host;
  std::string realm;
  std::string start;

  std::string Name() const {
    return ToString(Member{.host = host, .pid = pid});
  }
};

std::string Contents(const Owner& owner, int64_t beat) {
  // Of one length, so that a beat is one write over what is there.
  return absl::StrFormat("%s\n%s\n%s\n%020d\n", owner.Name(), owner.realm,
                         owner.start, beat);
}

// False of a file that is not written yet, or not by us.
bool Parse(absl::string_view contents, Owner& owner) {
  const std::vector<std::string> lines = absl::StrSplit(contents, '\n');
  if (lines.size() < 4) return false;
  const std::pair<absl::string_view, absl::string_view> name =
      absl::StrSplit(lines[0], absl::MaxSplits(" on host ", 1));
  absl::string_view pid = name.first;
  if (!absl::ConsumePrefix(&pid, "pid ") || !absl::SimpleAtoi(pid, &owner.pid))
    return false;
  owner.host = std::string(name.second);
  owner.realm = lines[1];
  owner.start = lines[2];
  return true;
}

Owner Self() {
  return {.pid = getpid(),
          .host = ThisMember().host,
          .realm = Realm(),
          .start = StartIn(StatOf(getpid()))};
}

// Of an owner in this process's own realm.
bool Lives(const Owner& owner) {
  if (kill(owner.pid, 0) != 0 && errno == ESRCH) return false;
  const std::vector<std::string> stat = StatOf(owner.pid);
  if (stat.empty()) return true;  // hidden from us
  return stat[0] != "Z" && StartIn(stat) == owner.start;
}

std::string Held(const std::string& path) {
  return absl::StrCat(path, ".held");
}

std::string OwnPath(const std::string& path, bool shared) {
  if (!shared) return Held(path);
  static std::atomic<int> number = 0;
  return absl::StrCat(Held(path), ".", ThisMember().host, ".", getpid(), ".",
                      ++number);
}

absl::Status Error(absl::string_view what, const std::string& path) {
  const std::string text =
      absl::StrCat("cannot ", what, " ", path, ": ", std::strerror(errno));
  return errno == EMFILE || errno == ENFILE ? absl::ResourceExhaustedError(text)
                                            : absl::AbortedError(text);
}

// Under another name first: whoever is as far in the meantime and has made the
// file anew must not lose that one.
void RemoveStale(const std::string& path, const std::string& contents,
                 const std::string& aside) {
  if (rename(path.c_str(), aside.c_str()) != 0) return;
  const absl::StatusOr<std::string> moved =
      PosixFileSystem().ReadFile(aside, kMaxBytes);
  if (moved.ok() && *moved == contents) {
    unlink(aside.c_str());
  } else {
    rename(aside.c_str(), path.c_str());
  }
}

}  // namespace

LockFile::LockFile(std::string path, bool shared, Timing timing)
    : path_(std::move(path)),
      shared_(shared),
      timing_(timing),
      own_path_(OwnPath(path_, shared)) {}

LockFile::~LockFile() {
  if (thread_.joinable()) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      ending_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  if (is_made_ && IsMine()) unlink(own_path_.c_str());
}

// False: this process was thought dead, and another has made the file anew.
bool LockFile::IsMine() const {
  const absl::StatusOr<std::string> contents =
      PosixFileSystem().ReadFile(own_path_, kMaxBytes);
  Owner owner;
  const Owner self = Self();
  return contents.ok() && Parse(*contents, owner) && owner.pid == self.pid &&
         owner.realm == self.realm && owner.start == self.start;
}

absl::StatusOr<LockFile::Attempt> LockFile::Try() {
  ASSIGN_OR_RETURN(bool made, Make());
  if (!made) {
    const Attempt attempt = Judge(own_path_);
    if (attempt != Attempt::kTaken) return attempt;
    ASSIGN_OR_RETURN(made, Make());
    if (!made) return Attempt::kWatched;  // another was faster
  }
  ASSIGN_OR_RETURN(const Attempt attempt, LookForOthers());
  if (attempt != Attempt::kTaken) {
    unlink(own_path_.c_str());
    is_made_ = false;
    return attempt;
  }
  RETURN_IF_ERROR(StartBeating());
  return Attempt::kTaken;
}

absl::StatusOr<bool> LockFile::Make() {
  const int file =
      open(own_path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (file < 0 && errno == EEXIST) return false;
  if (file < 0) return Error("make", own_path_);
  is_made_ = true;
  const std::string contents = Contents(Self(), 0);
  const bool written = pwrite(file, contents.data(), contents.size(), 0) ==
                       static_cast<ssize_t>(contents.size());
  absl::Status status;
  if (!written) status = Error("write", own_path_);
  close(file);
  RETURN_IF_ERROR(status);
  return true;
}

absl::StatusOr<LockFile::Attempt> LockFile::LookForOthers() {
  if (shared_) return Judge(Held(path_));
  const fs::path path = Held(path_);
  const std::string folder = path.parent_path().string();
  ASSIGN_OR_RETURN(const std::vector<std::string> names,
                   PosixFileSystem().List(folder.empty() ? "." : folder));
  const std::string prefix = absl::StrCat(path.filename().string(), ".");
  for (const std::string& name : names) {
    if (!absl::StartsWith(name, prefix)) continue;
    const Attempt attempt = Judge(JoinPath(folder, name));
    if (attempt != Attempt::kTaken) return attempt;
  }
  return Attempt::kTaken;
}

LockFile::Attempt LockFile::Judge(const std::string& path) {
  const absl::StatusOr<std::string> contents =
      PosixFileSystem().ReadFile(path, kMaxBytes);
  if (absl::IsNotFound(contents.status())) return Attempt::kTaken;
  if (!contents.ok()) {  // another user's, or a disk that fails
    holder_ =
        absl::StrCat("another process (", contents.status().message(), ")");
    return Attempt::kHeld;
  }
  Owner owner;
  const bool parsed = Parse(*contents, owner);
  holder_ = parsed ? owner.Name() : "another process";
  bool is_stale = false;
  bool lives = false;
  if (parsed && owner.realm == Self().realm) {
    lives = Lives(owner);
    is_stale = !lives;
  } else {
    const auto now = std::chrono::steady_clock::now();
    const std::string& seen = *contents;
    const auto [entry, is_new] =
        watched_.try_emplace(path, Watched{.contents = seen, .since = now});
    Watched& watched = entry->second;
    if (watched.contents != seen)
      watched = {.contents = seen, .since = now, .has_changed = true};
    is_stale = now - watched.since > timing_.stale;
    lives = watched.has_changed && !is_stale;
  }
  if (is_stale) {
    RemoveStale(
        path, *contents,
        absl::StrCat(path_, ".stale.", ThisMember().host, ".", getpid()));
    watched_.erase(path);
    return Attempt::kTaken;
  }
  return lives ? Attempt::kHeld : Attempt::kWatched;
}

absl::Status LockFile::StartBeating() {
  ASSIGN_OR_RETURN(thread_, StartQuietThread("lock_file", [this] { Beat(); }));
  return absl::OkStatus();
}

// A file that is gone, or another's, stays so: another has the lock.
void LockFile::Beat() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (int64_t beat = 1;; ++beat) {
    if (changed_.wait_for(lock, timing_.beat, [this] { return ending_; }))
      return;
    if (!IsMine()) continue;
    const int file = open(own_path_.c_str(), O_WRONLY | O_CLOEXEC);
    if (file < 0) continue;
    const std::string contents = Contents(Self(), beat);
    static_cast<void>(!pwrite(file, contents.data(), contents.size(), 0));
    close(file);
  }
}

}  // namespace moe
