#include "trainer/plan/available_memory.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "comm/base/cgroup.h"

namespace moe {
namespace {

// Where each version of cgroups keeps its numbers, all in bytes.
struct CgroupFiles {
  const char* limit;
  const char* usage;
  // Lines of memory.stat: what is read from files and can be read again.
  const char* inactive_file;
  const char* active_file;
};
constexpr CgroupFiles kVersion1 = {.limit = "memory.limit_in_bytes",
                                   .usage = "memory.usage_in_bytes",
                                   .inactive_file = "total_inactive_file",
                                   .active_file = "total_active_file"};
constexpr CgroupFiles kVersion2 = {.limit = "memory.max",
                                   .usage = "memory.current",
                                   .inactive_file = "inactive_file",
                                   .active_file = "active_file"};

// The number after `key` in lines of "key number".
std::optional<int64_t> NumberOf(absl::string_view text, absl::string_view key) {
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    const std::vector<absl::string_view> fields =
        absl::StrSplit(line, absl::ByAnyChar(" \t"), absl::SkipEmpty());
    int64_t number = 0;
    if (fields.size() >= 2 && fields[0] == key &&
        absl::SimpleAtoi(fields[1], &number) && number >= 0)
      return number;
  }
  return std::nullopt;
}

// Nothing where there is no limit: "max", or no such file.
std::optional<int64_t> LeftIn(const CgroupDirectory& cgroup,
                              const CgroupFiles& files) {
  const auto read = [&](const char* name) {
    return ReadSystemFile(absl::StrCat(cgroup.path, "/", name));
  };
  int64_t limit = 0;
  int64_t usage = 0;
  if (!absl::SimpleAtoi(read(files.limit), &limit) ||
      !absl::SimpleAtoi(read(files.usage), &usage))
    return std::nullopt;
  const std::string statistics = read("memory.stat");
  const int64_t cache = NumberOf(statistics, files.inactive_file).value_or(0) +
                        NumberOf(statistics, files.active_file).value_or(0);
  return std::max<int64_t>(0, limit - std::max<int64_t>(0, usage - cache));
}

}  // namespace

AvailableMemory FindAvailableMemory(const std::string& root) {
  AvailableMemory least = {.bytes = std::numeric_limits<int64_t>::max(),
                           .source = "nothing that limits it"};
  const std::optional<int64_t> kibibytes = NumberOf(
      ReadSystemFile(absl::StrCat(root, "/proc/meminfo")), "MemAvailable:");
  if (kibibytes.has_value())
    least = {.bytes = *kibibytes << 10,
             .source = "MemAvailable of /proc/meminfo"};
  for (const CgroupDirectory& cgroup : CgroupDirectories(
           ReadSystemFile(absl::StrCat(root, "/proc/self/cgroup")), "memory",
           absl::StrCat(root, "/sys/fs/cgroup"))) {
    const CgroupFiles& files = cgroup.version == 1 ? kVersion1 : kVersion2;
    const std::optional<int64_t> left = LeftIn(cgroup, files);
    if (!left.has_value() || *left >= least.bytes) continue;
    least = {.bytes = *left,
             .source = absl::StrCat("what is left of ", cgroup.path, "/",
                                    files.limit)};
  }
  return least;
}

}  // namespace moe
