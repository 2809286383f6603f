#ifndef DATA_FILE_LOCK_H_
#define DATA_FILE_LOCK_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace moe {

// A lock on a file, held by one process or shared by several, which the system
// gives up when a process ends, however it ends; the file itself stays, empty.
class FileLock {
 public:
  enum class Mode { kExclusive, kShared };
  // Waits for `patience`, as long as a killed job may take to be gone.
  // AlreadyExists: another process holds it still. Aborted: the file cannot be
  // made.
  static absl::StatusOr<std::unique_ptr<FileLock>> Acquire(
      const std::string& path, Mode mode, absl::Duration patience);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  explicit FileLock(int descriptor) : descriptor_(descriptor) {}
  int descriptor_;
};

}  // namespace moe

#endif  // DATA_FILE_LOCK_H_
