#include "tests/fuzz/memory_files.h"

#include "absl/strings/str_cat.h"
#include "comm/base/status_macros.h"

namespace moe {
namespace {

class Mapped : public MappedFile {
 public:
  explicit Mapped(absl::string_view bytes) : bytes_(bytes) {}
  absl::string_view bytes() const override { return bytes_; }

 private:
  absl::string_view bytes_;
};

absl::Status ReadOnly(const std::string& path) {
  return absl::AbortedError(absl::StrCat(path, ": these files are read only"));
}

}  // namespace

absl::StatusOr<absl::string_view> MemoryFiles::Find(
    const std::string& path) const {
  const auto file = files_.find(path);
  if (file != files_.end()) return file->second;
  return absl::NotFoundError(absl::StrCat(path, ": no such file"));
}

absl::StatusOr<std::unique_ptr<WritableFile>> MemoryFiles::Create(
    const std::string& path) {
  return ReadOnly(path);
}

absl::StatusOr<std::unique_ptr<WritableFile>> MemoryFiles::OpenForAppend(
    const std::string& path) {
  return ReadOnly(path);
}

absl::Status MemoryFiles::MakeDirectories(const std::string& path) {
  return ReadOnly(path);
}

absl::Status MemoryFiles::Rename(const std::string& from, const std::string&) {
  return ReadOnly(from);
}

absl::Status MemoryFiles::Remove(const std::string& path) {
  return ReadOnly(path);
}

absl::Status MemoryFiles::SyncDirectory(const std::string& path) {
  return ReadOnly(path);
}

bool MemoryFiles::Exists(const std::string& path) {
  return files_.count(path) > 0;
}

absl::StatusOr<int64_t> MemoryFiles::FileSize(const std::string& path) {
  ASSIGN_OR_RETURN(const absl::string_view bytes, Find(path));
  return static_cast<int64_t>(bytes.size());
}

absl::StatusOr<FileIdentity> MemoryFiles::Identify(const std::string& path) {
  ASSIGN_OR_RETURN(const int64_t bytes, FileSize(path));
  return FileIdentity{.bytes = bytes};
}

absl::StatusOr<std::vector<std::string>> MemoryFiles::List(
    const std::string& path) {
  return absl::NotFoundError(absl::StrCat(path, ": no such directory"));
}

absl::StatusOr<std::string> MemoryFiles::ReadFile(const std::string& path,
                                                  int64_t max_bytes) {
  ASSIGN_OR_RETURN(const absl::string_view bytes, Find(path));
  if (static_cast<int64_t>(bytes.size()) > max_bytes) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " has ", bytes.size(), " bytes"));
  }
  return std::string(bytes);
}

absl::StatusOr<std::unique_ptr<MappedFile>> MemoryFiles::Map(
    const std::string& path) {
  ASSIGN_OR_RETURN(const absl::string_view bytes, Find(path));
  return std::make_unique<Mapped>(bytes);
}

}  // namespace moe
