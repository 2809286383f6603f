#include "data/temporary_path.h"

#include <utility>

namespace moe {

TemporaryPath::TemporaryPath(FileSystem& files, std::string path)
    : files_(files),
      path_(std::move(path)),
      on_refusal_([this] { Remove(); }) {}

TemporaryPath::~TemporaryPath() { Remove(); }

void TemporaryPath::Remove() {
  if (is_there_) files_.Remove(path_).IgnoreError();  // nothing there is of use
}

}  // namespace moe
