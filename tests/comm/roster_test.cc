#include "comm/mpi/roster.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <functional>
#include <optional>

namespace moe {
namespace {

// What a Member is but for its names, as it comes through a pipe.
struct Seen {
  uint64_t network = 0;
  uint64_t processes = 0;
  bool has_kernel = false;
};

// The member that a process is after unshare(flags), and if `forks` its child,
// which alone is in a new namespace of processes. Nothing where the system does
// not permit it.
std::optional<Member> MemberAfterUnshare(int flags, bool forks) {
  std::array<int, 2> ends = {};
  EXPECT_EQ(pipe(ends.data()), 0);
  const std::string kernel = ThisMember().kernel;
  const pid_t child = fork();
  if (child == 0) {
    if (unshare(flags) != 0 && unshare(flags | CLONE_NEWUSER) != 0) _exit(1);
    if (forks) {
      const pid_t inner = fork();
      if (inner > 0) waitpid(inner, nullptr, 0);
      if (inner != 0) _exit(inner > 0 ? 0 : 1);
    }
    const Member member = ThisMember();
    const Seen seen = {.network = member.network,
                       .processes = member.processes,
                       .has_kernel = member.kernel == kernel};
    _exit(write(ends[1], &seen, sizeof(seen)) == sizeof(seen) ? 0 : 1);
  }
  close(ends[1]);
  Seen seen;
  const bool is_read = read(ends[0], &seen, sizeof(seen)) == sizeof(seen);
  close(ends[0]);
  waitpid(child, nullptr, 0);
  if (!is_read) return std::nullopt;
  Member member = ThisMember();
  EXPECT_TRUE(seen.has_kernel);
  member.network = seen.network;
  member.processes = seen.processes;
  return member;
}

constexpr char kNoNamespaces[] =
    "this system lets no process of this user have namespaces of its own";

TEST(Roster, KnowsWhatThisProcessSharesWithItself) {
  const Member member = ThisMember();
  EXPECT_EQ(member.pid, getpid());
  EXPECT_FALSE(member.kernel.empty());
  EXPECT_TRUE(ShareNetwork(member, ThisMember()));
  EXPECT_TRUE(ShareProcesses(member, ThisMember()));
}

TEST(Roster, TellsNetworksOfOneHostApart) {
  const std::optional<Member> other =
      MemberAfterUnshare(CLONE_NEWNET, /*forks=*/false);
  if (!other.has_value()) GTEST_SKIP() << kNoNamespaces;
  EXPECT_FALSE(ShareNetwork(*other, ThisMember()));
  EXPECT_TRUE(ShareProcesses(*other, ThisMember()));
}

// /proc there is still that of the namespace outside, where the pid is
// another's.
TEST(Roster, TellsNamespacesOfProcessesApart) {
  const std::optional<Member> other =
      MemberAfterUnshare(CLONE_NEWPID, /*forks=*/true);
  if (!other.has_value()) GTEST_SKIP() << kNoNamespaces;
  EXPECT_TRUE(ShareNetwork(*other, ThisMember()));
  EXPECT_FALSE(ShareProcesses(*other, ThisMember()));
  EXPECT_FALSE(ShareProcesses(*other, *other)) << "not known is not shared";
}

TEST(Roster, TellsHostsOfEqualNamesApart) {
  const Member here = {
      .host = "node", .pid = 7, .kernel = "k", .network = 1, .processes = 2};
  Member there = here;
  there.kernel = "l";
  EXPECT_FALSE(ShareNetwork(here, there));
  EXPECT_FALSE(ShareProcesses(here, there));
  there = here;
  there.host = "other";
  EXPECT_TRUE(ShareNetwork(here, there)) << "a name says nothing";
  EXPECT_TRUE(ShareProcesses(here, there));
}

TEST(Roster, ReadsTheStateOfAProcess) {
  EXPECT_EQ(ProcessState(getpid()), 'R');
  EXPECT_EQ(ProcessState(0), '\0');
}

}  // namespace
}  // namespace moe
