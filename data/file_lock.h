#ifndef DATA_FILE_LOCK_H_
#define DATA_FILE_LOCK_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace moe {

// A lock on a file, held by one process or shared by several, which the system
// gives up when a process ends, however it ends; the file itself stays, and
// says which process took it last for itself alone.
class FileLock {
 public:
  enum class Mode { kExclusive, kShared };
  // Waits for `patience`, as long as a killed job may take to be gone; if it
  // has to, `waits` hears at once who took the lock: "pid 7 on host a".
  // AlreadyExists: another process holds it still. Aborted: the file cannot be
  // made.
  static absl::StatusOr<std::unique_ptr<FileLock>> Acquire(
      const std::string& path, Mode mode, absl::Duration patience,
      const std::function<void(const std::string& taker)>& waits);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  explicit FileLock(int descriptor) : descriptor_(descriptor) {}
  int descriptor_;
};

}  // namespace moe

#endif  // DATA_FILE_LOCK_H_
