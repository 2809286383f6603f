#include "data/storage/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "comm/base/monotonic_time.h"
#include "comm/base/status_macros.h"
#include "comm/mpi/roster.h"

namespace moe {
namespace {

using Attempt = LockFile::Attempt;

// A word for people: nothing depends on its being there.
void WriteTaker(int descriptor) {
  const std::string taker = ToString(ThisMember());
  if (ftruncate(descriptor, 0) == 0)
    static_cast<void>(!pwrite(descriptor, taker.data(), taker.size(), 0));
}

// 0: the lock was taken; else errno.
int TryFlock(int descriptor, FileLock::Mode mode) {
  const int operation = mode == FileLock::Mode::kShared ? LOCK_SH : LOCK_EX;
  return flock(descriptor, operation | LOCK_NB) == 0 ? 0 : errno;
}

// Of the open file, not of the process, which would lose it with any other
// descriptor of the file that it closes.
int TryFcntl(int descriptor, FileLock::Mode mode) {
  struct flock lock = {};
  lock.l_type = mode == FileLock::Mode::kShared ? F_RDLCK : F_WRLCK;
  lock.l_whence = SEEK_SET;
  return fcntl(descriptor, F_OFD_SETLK, &lock) == 0 ? 0 : errno;
}

bool IsHeld(int error) {
  return error == EWOULDBLOCK || error == EACCES || error == EINTR;
}

// Not this lock is refused, but any.
bool HasNone(int error) {
  return error == ENOSYS || error == ENOLCK || error == EOPNOTSUPP ||
         error == EINVAL;
}

}  // namespace

absl::StatusOr<Attempt> FileLock::Try(const std::string& path, Mode mode) {
  int error = 0;
  if (kind_ == Kind::kFlock) {
    error = TryFlock(descriptor_, mode);
    if (HasNone(error)) kind_ = Kind::kFcntl;
  }
  if (kind_ == Kind::kFcntl) {
    error = TryFcntl(descriptor_, mode);
    if (HasNone(error)) kind_ = Kind::kLockFile;
  }
  if (kind_ == Kind::kLockFile) {
    if (lock_file_ == nullptr)
      lock_file_ = std::make_unique<LockFile>(path, mode == Mode::kShared,
                                              LockFile::Timing());
    return lock_file_->Try();
  }
  if (error == 0) return Attempt::kTaken;
  if (IsHeld(error)) return Attempt::kHeld;
  return absl::AbortedError(
      absl::StrCat(path, ": locking: ", std::strerror(error)));
}

std::string FileLock::Taker() const {
  if (lock_file_ != nullptr) return lock_file_->holder();
  char taker[320];
  const ssize_t size = pread(descriptor_, taker, sizeof(taker), 0);
  return size > 0 ? std::string(taker, static_cast<size_t>(size))
                  : "another process";
}

absl::StatusOr<std::unique_ptr<FileLock>> FileLock::Acquire(
    const std::string& path, Mode mode, absl::Duration patience,
    const Waits& waits) {
  const int descriptor =
      open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, S_IRUSR | S_IWUSR);
  if (descriptor < 0) {
    const std::string text =
        absl::StrCat(path, ": opening: ", std::strerror(errno));
    return errno == EMFILE || errno == ENFILE
               ? absl::ResourceExhaustedError(text)
               : absl::AbortedError(text);
  }
  std::unique_ptr<FileLock> lock(new FileLock(descriptor));
  const absl::Duration deadline = MonotonicTime() + patience;
  std::string taker;
  while (true) {
    ASSIGN_OR_RETURN(const Attempt attempt, lock->Try(path, mode));
    if (attempt == Attempt::kTaken) break;
    if (taker.empty()) {
      taker = lock->Taker();
      const absl::Duration stale = absl::FromChrono(LockFile::Timing().stale);
      waits(taker, attempt == Attempt::kWatched ? std::max(patience, stale)
                                                : patience);
    }
    if (attempt == Attempt::kHeld && MonotonicTime() >= deadline) {
      return absl::AlreadyExistsError(absl::StrCat(
          path, " is locked by a process that is still alive, taken by ",
          taker));
    }
    absl::SleepFor(absl::Milliseconds(50));
  }
  if (mode == Mode::kExclusive) WriteTaker(descriptor);
  return lock;
}

FileLock::~FileLock() { close(descriptor_); }

}  // namespace moe
