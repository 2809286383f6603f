#ifndef TESTS_DATA_TEMPORARY_DIRECTORY_H_
#define TESTS_DATA_TEMPORARY_DIRECTORY_H_

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "absl/strings/string_view.h"
#include "data/storage/file_system.h"

namespace moe {

// An empty directory that goes with the test. Reads and writes past FileSystem,
// so that a test of it does not lean on it.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name =
        (std::filesystem::temp_directory_path() / "moe_test_XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::string& path() const { return path_; }
  std::string Path(absl::string_view name) const {
    return JoinPath(path_, name);
  }
  // The path of a file with these contents.
  std::string Write(absl::string_view name, absl::string_view contents) const {
    std::ofstream file(Path(name), std::ios::binary);
    file.write(contents.data(), static_cast<std::streamsize>(contents.size()));
    return Path(name);
  }
  std::string Read(absl::string_view name) const {
    std::ifstream file(Path(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

 private:
  std::string path_;
};

}  // namespace moe

#endif  // TESTS_DATA_TEMPORARY_DIRECTORY_H_
