#ifndef COMM_BASE_CORES_H_
#define COMM_BASE_CORES_H_

#include <sched.h>

#include <string>

#include "absl/strings/string_view.h"

namespace moe {

// Cores this process may use: the affinity mask, capped by the cgroup's CPU
// quota (v2 cpu.max, v1 cfs_quota), at least 1.
int AvailableCores();

// The cores that the scheduler may put this process on. `mpirun` binds each
// rank to a core or a socket, so ranks of one node may have different masks.
cpu_set_t AffinityMask();

// Number of cores in `mask`, capped by the cgroup's CPU quota, at least 1.
int CoresWithin(const cpu_set_t& mask);

// The least CPU quota, in cores, among the cgroup of this process and those
// above it; 0 if there is none. `membership` is the text of /proc/self/cgroup;
// `root` is where cgroups are mounted, /sys/fs/cgroup.
double CgroupCpuLimit(absl::string_view membership, const std::string& root);

}  // namespace moe

#endif  // COMM_BASE_CORES_H_
