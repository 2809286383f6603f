#ifndef COMM_ROSTER_H_
#define COMM_ROSTER_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace moe {

// Where a rank of the world runs.
struct Member {
  std::string host;
  int pid = 0;
};
// "pid 812 on host node7"
std::string ToString(const Member& member);

using Roster = std::vector<Member>;  // by rank

// This process.
Member ThisMember();

// Everybody's, in rank order. Collective over MPI's world.
absl::StatusOr<Roster> GatherRoster();

// `text` of rank `root`, on all ranks. Collective over MPI's world.
absl::StatusOr<std::string> BroadcastText(std::string text, int root);

// The letter that the system gives a process of this host: 'T' stopped, 'D' in
// the kernel's hands (often a disk's), 'Z' or '\0' ended, ...
char ProcessState(int pid);

}  // namespace moe

#endif  // COMM_ROSTER_H_
