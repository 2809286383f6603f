#ifndef TESTS_READ_THROUGH_FILE_SYSTEM_H_
#define TESTS_READ_THROUGH_FILE_SYSTEM_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/storage/file_system.h"

namespace moe {

// Reads from another file system. What writing does, watched or refused, is for
// those that derive from it.
class ReadThroughFileSystem : public FileSystem {
 public:
  explicit ReadThroughFileSystem(FileSystem& base = PosixFileSystem())
      : base_(base) {}

  bool Exists(const std::string& path) override { return base_.Exists(path); }
  bool IsDirectory(const std::string& path) override {
    return base_.IsDirectory(path);
  }
  absl::StatusOr<int64_t> FileSize(const std::string& path) override {
    return base_.FileSize(path);
  }
  absl::StatusOr<FileIdentity> Identify(const std::string& path) override {
    return base_.Identify(path);
  }
  absl::StatusOr<std::vector<std::string>> List(
      const std::string& path) override {
    return base_.List(path);
  }
  absl::StatusOr<std::string> ReadFile(const std::string& path,
                                       int64_t max_bytes) override {
    return base_.ReadFile(path, max_bytes);
  }
  absl::StatusOr<std::unique_ptr<MappedFile>> Map(
      const std::string& path) override {
    return base_.Map(path);
  }

 protected:
  FileSystem& base_;
};

}  // namespace moe

#endif  // TESTS_READ_THROUGH_FILE_SYSTEM_H_
