#include "data/storage/temporary_path.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "comm/base/status_macros.h"

namespace moe {

TemporaryPath::TemporaryPath(FileSystem& files, std::string path)
    : files_(files),
      path_(std::move(path)),
      at_end_([this] { RemoveAtEnd(); }) {}

TemporaryPath::~TemporaryPath() { Remove(); }

absl::Status TemporaryPath::RenameTo(const std::string& path) {
  const RemovalAtEnd::Lock held = RemovalAtEnd::Hold();
  RETURN_IF_ERROR(files_.Rename(path_, path));
  Release();
  return absl::OkStatus();
}

void TemporaryPath::Remove() {
  if (is_there_) files_.Remove(path_).IgnoreError();  // nothing there is of use
}

// Other threads and a child may go on making files in a directory meanwhile.
void TemporaryPath::RemoveAtEnd() {
  constexpr int kMostTries = 10;
  for (int i = 0; i < kMostTries && is_there_; ++i)
    if (files_.Remove(path_).ok()) return;
}

absl::StatusOr<std::unique_ptr<TemporaryPath>> MakeTemporaryDirectory(
    absl::string_view prefix) {
  std::error_code error;
  std::string path = (std::filesystem::temp_directory_path(error) /
                      absl::StrCat(prefix, "XXXXXX"))
                         .string();
  // Nothing ends the process between the directory and its removal.
  const RemovalAtEnd::Lock held = RemovalAtEnd::Hold();
  if (error || mkdtemp(path.data()) == nullptr) {
    return absl::AbortedError(
        absl::StrCat("cannot make the directory ", path, ": ",
                     error ? error.message() : std::strerror(errno)));
  }
  return std::make_unique<TemporaryPath>(PosixFileSystem(), path);
}

}  // namespace moe
