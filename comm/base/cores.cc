#include "comm/base/cores.h"

#include <algorithm>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "comm/base/cgroup.h"

namespace moe {
namespace {

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
double LimitOf(const CgroupDirectory& cgroup) {
  if (cgroup.version == 1) {
    return Ratio(ReadSystemFile(cgroup.path + "/cpu.cfs_quota_us"),
                 ReadSystemFile(cgroup.path + "/cpu.cfs_period_us"));
  }
  const std::string text = ReadSystemFile(cgroup.path + "/cpu.max");
  const std::vector<absl::string_view> fields =
      absl::StrSplit(text, absl::ByAnyChar(" \n"), absl::SkipEmpty());
  return fields.size() == 2 ? Ratio(fields[0], fields[1]) : 0.0;
}

}  // namespace

double CgroupCpuLimit(absl::string_view membership, const std::string& root) {
  double least = 0.0;
  for (const CgroupDirectory& cgroup :
       CgroupDirectories(membership, "cpu", root))
    least = Lesser(least, LimitOf(cgroup));
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
      CgroupCpuLimit(ReadSystemFile("/proc/self/cgroup"), "/sys/fs/cgroup");
  if (limit == 0.0) return cores;
  return std::clamp(static_cast<int>(limit), 1, cores);
}

int AvailableCores() { return CoresWithin(AffinityMask()); }

}  // namespace moe
