#include "comm/mpi/roster.h"

#include <mpi.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "comm/base/cgroup.h"
#include "comm/base/status_macros.h"
#include "comm/mpi/mpi_status.h"

namespace moe {
namespace {

// A Member as it travels.
struct MemberMessage {
  char host[256] = {};
  char kernel[64] = {};
  int pid = 0;
  uint64_t network = 0;
  uint64_t processes = 0;
};

// Which of the kernel's namespaces of a kind ("net") this process is in.
uint64_t Namespace(const char* kind) {
  struct stat of = {};
  const std::string path = absl::StrCat("/proc/self/ns/", kind);
  return stat(path.c_str(), &of) == 0 ? of.st_ino : 0;
}

// Where /proc is of another namespace, a pid of ours is another process there.
bool ProcIsOurs() {
  char pid[32] = {};
  return readlink("/proc/self", pid, sizeof(pid) - 1) > 0 &&
         absl::StrCat(getpid()) == pid;
}

}  // namespace

std::string ToString(const Member& member) {
  return absl::StrCat("pid ", member.pid, " on host ", member.host);
}

Member ThisMember() {
  char host[256] = {};
  gethostname(host, sizeof(host) - 1);
  Member member = {.host = host, .pid = getpid()};
  member.kernel = std::string(absl::StripAsciiWhitespace(
      ReadSystemFile("/proc/sys/kernel/random/boot_id")));
  if (member.kernel.empty()) member.kernel = member.host;
  member.network = Namespace("net");
  if (ProcIsOurs()) member.processes = Namespace("pid");
  return member;
}

bool ShareNetwork(const Member& a, const Member& b) {
  return a.kernel == b.kernel && a.network == b.network;
}

bool ShareProcesses(const Member& a, const Member& b) {
  return a.kernel == b.kernel && a.processes == b.processes && a.processes != 0;
}

absl::StatusOr<Roster> GatherRoster() {
  int world = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &world);
  const Member self = ThisMember();
  MemberMessage mine;
  self.host.copy(mine.host, sizeof(mine.host) - 1);
  self.kernel.copy(mine.kernel, sizeof(mine.kernel) - 1);
  mine.pid = self.pid;
  mine.network = self.network;
  mine.processes = self.processes;
  std::vector<MemberMessage> all(static_cast<size_t>(world));
  RETURN_IF_ERROR(
      MpiStatus(MPI_Allgather(&mine, sizeof(mine), MPI_BYTE, all.data(),
                              sizeof(mine), MPI_BYTE, MPI_COMM_WORLD),
                "gathering the ranks' hosts"));
  Roster roster;
  for (const MemberMessage& message : all) {
    roster.push_back({.host = message.host,
                      .pid = message.pid,
                      .kernel = message.kernel,
                      .network = message.network,
                      .processes = message.processes});
  }
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
