#ifndef COMM_BASE_CGROUP_H_
#define COMM_BASE_CGROUP_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace moe {

// A control group's directory in the system's tree of them.
struct CgroupDirectory {
  std::string path;
  int version = 2;  // or 1: files have other names
};

// The cgroup of this process that limits what `controller` ("cpu", "memory")
// counts, and those above it, all of which limit it too. They need not be
// there: in a container the path may name a place that only the host sees; then
// the mounted root, which is the container's own cgroup, still counts.
// `membership` is the text of /proc/self/cgroup; `root` is where cgroups are
// mounted, /sys/fs/cgroup.
std::vector<CgroupDirectory> CgroupDirectories(absl::string_view membership,
                                               absl::string_view controller,
                                               const std::string& root);

// A file of /proc or /sys, which have no size; empty if it cannot be read.
std::string ReadSystemFile(const std::string& path);

}  // namespace moe

#endif  // COMM_BASE_CGROUP_H_
