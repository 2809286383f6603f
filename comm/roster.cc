#include "comm/roster.h"

#include <mpi.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "comm/mpi_status.h"
#include "comm/status_macros.h"

namespace moe {
namespace {

// A Member as it travels.
struct MemberMessage {
  char host[256] = {};
  int pid = 0;
};

}  // namespace

std::string ToString(const Member& member) {
  return absl::StrCat("pid ", member.pid, " on host ", member.host);
}

Member ThisMember() {
  MemberMessage message;
  gethostname(message.host, sizeof(message.host) - 1);
  return {.host = message.host, .pid = getpid()};
}

absl::StatusOr<Roster> GatherRoster() {
  int world = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &world);
  MemberMessage mine;
  const Member self = ThisMember();
  std::strncpy(mine.host, self.host.c_str(), sizeof(mine.host) - 1);
  mine.pid = self.pid;
  std::vector<MemberMessage> all(static_cast<size_t>(world));
  RETURN_IF_ERROR(
      MpiStatus(MPI_Allgather(&mine, sizeof(mine), MPI_BYTE, all.data(),
                              sizeof(mine), MPI_BYTE, MPI_COMM_WORLD),
                "gathering the ranks' hosts"));
  Roster roster;
  for (const MemberMessage& message : all)
    roster.push_back({.host = message.host, .pid = message.pid});
  return roster;
}

absl::StatusOr<std::string> BroadcastText(std::string text, int root) {
  int size = static_cast<int>(text.size());
  RETURN_IF_ERROR(MpiStatus(MPI_Bcast(&size, 1, MPI_INT, root, MPI_COMM_WORLD),
                            "broadcasting a text"));
  text.resize(static_cast<size_t>(size));
  RETURN_IF_ERROR(
      MpiStatus(MPI_Bcast(text.data(), size, MPI_BYTE, root, MPI_COMM_WORLD),
                "broadcasting a text"));
  return text;
}

char ProcessState(int pid) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/stat"));
  const std::string text(std::istreambuf_iterator<char>(file), {});
  // "812 (moe-train) S 1 ...": the name may hold anything.
  const size_t end = text.rfind(')');
  return end == text.npos || end + 2 >= text.size() ? '\0' : text[end + 2];
}

}  // namespace moe
