#ifndef TRAINER_PLAN_AVAILABLE_MEMORY_H_
#define TRAINER_PLAN_AVAILABLE_MEMORY_H_

#include <cstdint>
#include <string>

namespace moe {

// Memory that this process and its neighbours on the machine may still take
// before the machine swaps or the system kills one of them.
struct AvailableMemory {
  int64_t bytes = 0;
  // Whose word that is: "MemAvailable of /proc/meminfo", or a file of the
  // cgroup's that limits more.
  std::string source;
};

// The least of what /proc/meminfo calls available and what this process's
// cgroup, and each above it, has left of its limit; the file cache, which goes
// when room is needed, does not count as taken. Without bound where the system
// says nothing. `root` stands before /proc and /sys.
AvailableMemory FindAvailableMemory(const std::string& root = "");

}  // namespace moe

#endif  // TRAINER_PLAN_AVAILABLE_MEMORY_H_
