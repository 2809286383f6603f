#ifndef DATA_FILE_LOCK_H_
#define DATA_FILE_LOCK_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace moe {

// An exclusive lock on a file, which the system gives up when the process ends,
// however it ends; the file itself stays, empty.
class FileLock {
 public:
  // Waits for `patience`, as long as a killed job may take to be gone.
  // AlreadyExists: another process holds it still. Aborted: the file cannot be
  // made.
  static absl::StatusOr<std::unique_ptr<FileLock>> Acquire(
      const std::string& path, absl::Duration patience);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  explicit FileLock(int descriptor) : descriptor_(descriptor) {}
  int descriptor_;
};

}  // namespace moe

#endif  // DATA_FILE_LOCK_H_
