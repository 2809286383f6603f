#ifndef COMM_MPI_ROSTER_H_
#define COMM_MPI_ROSTER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace moe {

// Where a rank of the world runs. Names of hosts may be equal, and a container
// or a namespace of its own is a host among others; so what two ranks share is
// told by the kernel.
struct Member {
  std::string host;  // for people
  int pid = 0;
  std::string kernel = {};  // since when it runs, as a name (its boot_id)
  uint64_t network = 0;     // of the kernel's network namespaces; 0: not known
  uint64_t processes = 0;   // of its namespaces of processes; 0: not known
};
// "pid 812 on host node7"
std::string ToString(const Member& member);

// Whether each reaches the other at 127.0.0.1.
bool ShareNetwork(const Member& a, const Member& b);
// Whether each finds the other in /proc, by its pid.
bool ShareProcesses(const Member& a, const Member& b);

using Roster = std::vector<Member>;  // by rank

// This process.
Member ThisMember();

// Everybody's, in rank order. Collective over MPI's world.
absl::StatusOr<Roster> GatherRoster();

// `text` of rank `root`, on all ranks. Collective over MPI's world.
absl::StatusOr<std::string> BroadcastText(std::string text, int root);

// The letter that the system gives a process (ShareProcesses): 'T' stopped, 'D'
// in the kernel's hands (often a disk's), 'Z' or '\0' ended, ...
char ProcessState(int pid);

}  // namespace moe

#endif  // COMM_MPI_ROSTER_H_
