#ifndef DATA_STORAGE_FILE_LOCK_H_
#define DATA_STORAGE_FILE_LOCK_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "data/storage/lock_file.h"

namespace moe {

// A lock on a file, held by one process or shared by several, which the system
// gives up when a process ends, however it ends; the file itself stays, and
// says which process took it last for itself alone.
//
// Some file systems (Lustre without -o flock, some in user space or of
// networks) have no flock. The next best is taken then: a lock of fcntl, else a
// file whose being there is the lock (LockFile). All who want the lock see the
// same file system, and so take the same kind.
class FileLock {
 public:
  enum class Mode { kExclusive, kShared };
  enum class Kind { kFlock, kFcntl, kLockFile };

  // Who has to wait hears at once who took the lock, "pid 7 on host a", and how
  // long the wait may be.
  using Waits =
      std::function<void(const std::string& taker, absl::Duration longest)>;

  // Waits for `patience`, as long as a killed job may take to be gone; of a
  // LockFile until it is certain that its owner lives. AlreadyExists: another
  // process holds it still. Aborted: the file cannot be made.
  // ResourceExhausted: no file or thread is left for it.
  static absl::StatusOr<std::unique_ptr<FileLock>> Acquire(
      const std::string& path, Mode mode, absl::Duration patience,
      const Waits& waits);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

  Kind kind() const { return kind_; }

 private:
  explicit FileLock(int descriptor) : descriptor_(descriptor) {}
  // Once, with the best kind that there is.
  absl::StatusOr<LockFile::Attempt> Try(const std::string& path, Mode mode);
  std::string Taker() const;

  int descriptor_;
  Kind kind_ = Kind::kFlock;
  std::unique_ptr<LockFile> lock_file_;
};

}  // namespace moe

#endif  // DATA_STORAGE_FILE_LOCK_H_
