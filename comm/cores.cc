#include "comm/cores.h"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"

namespace moe {
namespace {

// Empty if the file cannot be read.
std::string ReadText(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// quota / period; 0 if either is no positive number ("max" and -1 say that
// there is no quota).
double Ratio(absl::string_view quota, absl::string_view period) {
  double quota_us = 0.0;
  double period_us = 0.0;
  if (!absl::SimpleAtod(quota, &quota_us) ||
      !absl::SimpleAtod(period, &period_us) || quota_us <= 0.0 ||
      period_us <= 0.0)
    return 0.0;
  return quota_us / period_us;
}

// The lesser of two limits, of which 0 is none.
double Lesser(double a, double b) {
  if (a == 0.0 || b == 0.0) return a + b;
  return std::min(a, b);
}

// cpu.max of cgroup v2: "150000 100000" or "max 100000".
double LimitV2(const std::string& directory) {
  const std::string text = ReadText(directory + "/cpu.max");
  const std::vector<absl::string_view> fields =
      absl::StrSplit(text, absl::ByAnyChar(" \n"), absl::SkipEmpty());
  return fields.size() == 2 ? Ratio(fields[0], fields[1]) : 0.0;
}

double LimitV1(const std::string& directory) {
  return Ratio(ReadText(directory + "/cpu.cfs_quota_us"),
               ReadText(directory + "/cpu.cfs_period_us"));
}

// The least limit on the way from `path` up to the root of the hierarchy. In a
// container the path may name a place that only the host sees; then the
// mounted root, which is the container's own cgroup, still counts.
double LeastLimit(double (*limit_of)(const std::string&),
                  const std::string& hierarchy, std::string path) {
  double least = 0.0;
  while (true) {
    least = Lesser(least, limit_of(hierarchy + path));
    const size_t slash = path.rfind('/');
    if (slash == std::string::npos) return least;
    path.resize(slash);
  }
}

}  // namespace

double CgroupCpuLimit(absl::string_view membership, const std::string& root) {
  double least = 0.0;
  // Lines are "0::/path" in v2 and "4:cpu,cpuacct:/path" in v1.
  for (absl::string_view line : absl::StrSplit(membership, '\n')) {
    const std::vector<std::string> fields =
        absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (fields.size() != 3) continue;
    const std::string path = fields[2] == "/" ? "" : fields[2];
    if (fields[1].empty())
      least = Lesser(least, LeastLimit(LimitV2, root, path));
    const std::vector<absl::string_view> controllers =
        absl::StrSplit(fields[1], ',');
    if (std::find(controllers.begin(), controllers.end(), "cpu") !=
        controllers.end())
      least = Lesser(least, LeastLimit(LimitV1, root + "/" + fields[1], path));
  }
  return least;
}

cpu_set_t AffinityMask() {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  if (sched_getaffinity(0, sizeof(mask), &mask) != 0) CPU_SET(0, &mask);
  return mask;
}

int CoresWithin(const cpu_set_t& mask) {
  const int cores = std::max(1, CPU_COUNT(&mask));
  const double limit =
      CgroupCpuLimit(ReadText("/proc/self/cgroup"), "/sys/fs/cgroup");
  if (limit == 0.0) return cores;
  return std::clamp(static_cast<int>(limit), 1, cores);
}

int AvailableCores() { return CoresWithin(AffinityMask()); }

}  // namespace moe
