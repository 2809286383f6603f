#ifndef DATA_STORAGE_TEMPORARY_PATH_H_
#define DATA_STORAGE_TEMPORARY_PATH_H_

#include <atomic>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "comm/mpi/refused_memory.h"
#include "data/storage/file_system.h"

namespace moe {

// A file or directory that is to be gone in the end, whatever comes: removed
// when this goes, and where the process ends at once (RemovalAtEnd).
class TemporaryPath {
 public:
  TemporaryPath(FileSystem& files, std::string path);
  ~TemporaryPath();
  TemporaryPath(const TemporaryPath&) = delete;
  TemporaryPath& operator=(const TemporaryPath&) = delete;

  const std::string& path() const { return path_; }
  // Its final name, all at once: what ends the process meanwhile removes it
  // before or not at all. Errors of FileSystem::Rename.
  absl::Status RenameTo(const std::string& path);
  // It has another name now, or is gone.
  void Release() { is_there_ = false; }

 private:
  void Remove();
  void RemoveAtEnd();

  FileSystem& files_;
  const std::string path_;
  std::atomic<bool> is_there_ = true;
  const RemovalAtEnd at_end_;
};

// A new, empty directory in the machine's folder for temporary files, named
// `prefix` and six letters. A signal or refused memory that ends the process
// leaves none, also while it is made. Aborted: the system refuses it.
absl::StatusOr<std::unique_ptr<TemporaryPath>> MakeTemporaryDirectory(
    absl::string_view prefix);

}  // namespace moe

#endif  // DATA_STORAGE_TEMPORARY_PATH_H_
