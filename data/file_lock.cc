#include "data/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "comm/monotonic_time.h"

namespace moe {
namespace {

// A word for people: nothing depends on its being there.
void WriteTaker(int descriptor) {
  char host[256] = {};
  gethostname(host, sizeof(host) - 1);
  const std::string taker = absl::StrCat("pid ", getpid(), " on host ", host);
  if (ftruncate(descriptor, 0) == 0)
    static_cast<void>(!pwrite(descriptor, taker.data(), taker.size(), 0));
}

std::string ReadTaker(int descriptor) {
  char taker[320];
  const ssize_t size = pread(descriptor, taker, sizeof(taker), 0);
  return size > 0 ? std::string(taker, static_cast<size_t>(size))
                  : "another process";
}

}  // namespace

absl::StatusOr<std::unique_ptr<FileLock>> FileLock::Acquire(
    const std::string& path, Mode mode, absl::Duration patience,
    const std::function<void(const std::string& taker)>& waits) {
  const int descriptor =
      open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, S_IRUSR | S_IWUSR);
  if (descriptor < 0) {
    return absl::AbortedError(
        absl::StrCat(path, ": opening: ", std::strerror(errno)));
  }
  std::unique_ptr<FileLock> lock(new FileLock(descriptor));
  const absl::Duration deadline = MonotonicTime() + patience;
  const int operation = mode == Mode::kShared ? LOCK_SH : LOCK_EX;
  std::string taker;
  while (flock(descriptor, operation | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) {
      return absl::AbortedError(
          absl::StrCat(path, ": locking: ", std::strerror(errno)));
    }
    if (taker.empty()) {
      taker = ReadTaker(descriptor);
      waits(taker);
    }
    if (MonotonicTime() >= deadline) {
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
