#ifndef TESTS_FUZZ_MEMORY_FILES_H_
#define TESTS_FUZZ_MEMORY_FILES_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "data/storage/file_system.h"

namespace moe {

// Files whose bytes are the caller's, to read only. What writes is refused.
class MemoryFiles : public FileSystem {
 public:
  // The bytes must outlive this object and what it mapped.
  void Add(const std::string& path, absl::string_view bytes) {
    files_[path] = bytes;
  }

  absl::StatusOr<std::unique_ptr<WritableFile>> Create(
      const std::string& path) override;
  absl::StatusOr<std::unique_ptr<WritableFile>> OpenForAppend(
      const std::string& path) override;
  absl::Status MakeDirectories(const std::string& path) override;
  absl::Status Rename(const std::string& from, const std::string& to) override;
  absl::Status Remove(const std::string& path) override;
  absl::Status SyncDirectory(const std::string& path) override;

  bool Exists(const std::string& path) override;
  bool IsDirectory(const std::string&) override { return false; }
  absl::StatusOr<int64_t> FileSize(const std::string& path) override;
  absl::StatusOr<FileIdentity> Identify(const std::string& path) override;
  absl::StatusOr<std::vector<std::string>> List(
      const std::string& path) override;
  absl::StatusOr<std::string> ReadFile(const std::string& path,
                                       int64_t max_bytes) override;
  absl::StatusOr<std::unique_ptr<MappedFile>> Map(
      const std::string& path) override;

 private:
  absl::StatusOr<absl::string_view> Find(const std::string& path) const;

  std::map<std::string, absl::string_view> files_;
};

}  // namespace moe

#endif  // TESTS_FUZZ_MEMORY_FILES_H_
