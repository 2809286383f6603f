#include "data/storage/file_system.h"

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "comm/base/status_macros.h"
#include "data/storage/temporary_path.h"

namespace moe {

absl::Status MakeDurableDirectories(FileSystem& files,
                                    const std::string& path) {
  if (files.IsDirectory(path)) return absl::OkStatus();
  const std::string parent = ParentOf(path);
  RETURN_IF_ERROR(MakeDurableDirectories(files, parent));
  RETURN_IF_ERROR(files.MakeDirectories(path));
  return files.SyncDirectory(parent);
}

absl::Status WriteDurably(FileSystem& files, const std::string& path,
                          absl::string_view contents) {
  ASSIGN_OR_RETURN(std::unique_ptr<WritableFile> file, files.Create(path));
  RETURN_IF_ERROR(file->Append(contents));
  RETURN_IF_ERROR(file->Sync());
  return file->Close();
}

absl::Status WriteFileAtomically(FileSystem& files, const std::string& path,
                                 absl::string_view contents) {
  TemporaryPath temporary(files, absl::StrCat(path, ".tmp"));
  RETURN_IF_ERROR(WriteDurably(files, temporary.path(), contents));
  RETURN_IF_ERROR(temporary.RenameTo(path));
  return files.SyncDirectory(ParentOf(path));
}

std::string JoinPath(absl::string_view directory, absl::string_view name) {
  if (directory.empty()) return std::string(name);
  if (directory.back() == '/') return absl::StrCat(directory, name);
  return absl::StrCat(directory, "/", name);
}

std::string ParentOf(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

}  // namespace moe
