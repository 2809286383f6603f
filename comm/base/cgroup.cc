#include "comm/base/cgroup.h"

#include <algorithm>
#include <fstream>
#include <sstream>

#include "absl/strings/str_split.h"

namespace moe {
namespace {

// `path` within `hierarchy`, and all above it.
void AddWithParents(const std::string& hierarchy, std::string path, int version,
                    std::vector<CgroupDirectory>& directories) {
  while (true) {
    directories.push_back({hierarchy + path, version});
    const size_t slash = path.rfind('/');
    if (slash == std::string::npos) return;
    path.resize(slash);
  }
}

}  // namespace

std::vector<CgroupDirectory> CgroupDirectories(absl::string_view membership,
                                               absl::string_view controller,
                                               const std::string& root) {
  std::vector<CgroupDirectory> directories;
  // Lines are "0::/path" in v2 and "4:cpu,cpuacct:/path" in v1.
  for (absl::string_view line : absl::StrSplit(membership, '\n')) {
    const std::vector<std::string> fields =
        absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (fields.size() != 3) continue;
    const std::string path = fields[2] == "/" ? "" : fields[2];
    if (fields[1].empty()) AddWithParents(root, path, 2, directories);
    const std::vector<absl::string_view> controllers =
        absl::StrSplit(fields[1], ',');
    if (std::find(controllers.begin(), controllers.end(), controller) !=
        controllers.end())
      AddWithParents(root + "/" + fields[1], path, 1, directories);
  }
  return directories;
}

std::string ReadSystemFile(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace moe
