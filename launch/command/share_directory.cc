#include "launch/command/share_directory.h"

#include <filesystem>
#include <system_error>

namespace moe {

std::string ShareDirectory() {
  std::error_code error;
  const std::filesystem::path program =
      std::filesystem::read_symlink("/proc/self/exe", error);
  // Without /proc what was asked for is reported as missing from here.
  const std::filesystem::path prefix = program.parent_path().parent_path();
  return (prefix / "share" / "moe").string();
}

}  // namespace moe
