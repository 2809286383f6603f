#include "data/temporary_path.h"

#include <utility>

#include "comm/status_macros.h"

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

}  // namespace moe
