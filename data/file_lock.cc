#include "data/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace moe {

absl::StatusOr<std::unique_ptr<FileLock>> FileLock::Acquire(
    const std::string& path, Mode mode, absl::Duration patience) {
  const int descriptor =
      open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, S_IRUSR | S_IWUSR);
  if (descriptor < 0) {
    return absl::AbortedError(
        absl::StrCat(path, ": opening: ", std::strerror(errno)));
  }
  std::unique_ptr<FileLock> lock(new FileLock(descriptor));
  const absl::Time deadline = absl::Now() + patience;
  const int operation = mode == Mode::kShared ? LOCK_SH : LOCK_EX;
  while (flock(descriptor, operation | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) {
      return absl::AbortedError(
          absl::StrCat(path, ": locking: ", std::strerror(errno)));
    }
    if (absl::Now() >= deadline)
      return absl::AlreadyExistsError(
          absl::StrCat(path, " is locked by a process that is still alive"));
    absl::SleepFor(absl::Milliseconds(50));
  }
  return lock;
}

FileLock::~FileLock() { close(descriptor_); }

}  // namespace moe
