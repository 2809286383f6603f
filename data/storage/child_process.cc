#include "data/storage/child_process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "comm/base/status_macros.h"

namespace moe {
namespace {

// Open MPI, PMIx, Slurm's PMI and MPICH.
constexpr absl::string_view kMpiPrefixes[] = {"OMPI_", "OPAL_", "ORTE_",
                                              "PRTE_", "PMIX_", "PMI_"};

// What setpriv ends with where there is no such program.
constexpr int kNotFoundBySetpriv = 127;

bool IsOfMpi(absl::string_view variable) {
  for (const absl::string_view prefix : kMpiPrefixes) {
    if (absl::StartsWith(variable, prefix)) return true;
  }
  return false;
}

std::vector<char*> EnvironmentWithoutMpi() {
  std::vector<char*> environment;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    if (!IsOfMpi(*variable)) environment.push_back(*variable);
  }
  environment.push_back(nullptr);
  return environment;
}

// What the child does before it becomes the program.
class SpawnPlan {
 public:
  SpawnPlan() {
    posix_spawn_file_actions_init(&actions_);
    posix_spawnattr_init(&attributes_);
  }
  ~SpawnPlan() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;

  // An error number, 0 if all is well.
  int Make(const ChildProcess& child) {
    sigset_t none;
    sigset_t all;
    sigemptyset(&none);
    sigfillset(&all);
    const int errors[] = {
        posix_spawn_file_actions_addopen(&actions_, STDIN_FILENO, "/dev/null",
                                         O_RDONLY, 0),
        posix_spawn_file_actions_addopen(&actions_, STDOUT_FILENO,
                                         child.output_path.c_str(),
                                         O_WRONLY | O_CREAT | O_TRUNC, 0644),
        posix_spawn_file_actions_adddup2(&actions_, STDOUT_FILENO,
                                         STDERR_FILENO),
        posix_spawn_file_actions_addclosefrom_np(&actions_, STDERR_FILENO + 1),
        posix_spawn_file_actions_addchdir_np(&actions_,
                                             child.directory.c_str()),
        posix_spawnattr_setsigmask(&attributes_, &none),
        posix_spawnattr_setsigdefault(&attributes_, &all),
        // A group of its own: mpirun passes signals on to a rank's whole group,
        // and what asks the rank to stop would kill its child.
        posix_spawnattr_setpgroup(&attributes_, 0),
        posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK |
                                                   POSIX_SPAWN_SETSIGDEF |
                                                   POSIX_SPAWN_SETPGROUP)};
    for (const int error : errors) {
      if (error != 0) return error;
    }
    return 0;
  }

  const posix_spawn_file_actions_t* actions() const { return &actions_; }
  const posix_spawnattr_t* attributes() const { return &attributes_; }

 private:
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
};

absl::StatusOr<pid_t> Start(const ChildProcess& child) {
  // It ends with us, also where we are killed. setpriv is part of util-linux,
  // which every Linux has.
  std::vector<std::string> command = {"setpriv", "--pdeathsig", "KILL"};
  command.insert(command.end(), child.command.begin(), child.command.end());
  std::vector<char*> arguments;
  for (const std::string& argument : command) {
    arguments.push_back(const_cast<char*>(argument.c_str()));
  }
  arguments.push_back(nullptr);
  std::vector<char*> environment = EnvironmentWithoutMpi();
  SpawnPlan plan;
  pid_t id = 0;
  int error = plan.Make(child);
  if (error == 0) {
    error = posix_spawnp(&id, arguments[0], plan.actions(), plan.attributes(),
                         arguments.data(), environment.data());
  }
  if (error == 0) return id;
  const std::string message =
      absl::StrCat(command[0], " cannot be run: ", strerror(error));
  switch (error) {
    case ENOENT:
      return absl::NotFoundError(message);
    case EAGAIN:
    case ENOMEM:
    case EMFILE:
    case ENFILE:
      return absl::ResourceExhaustedError(message);
    default:
      return absl::InternalError(message);
  }
}

}  // namespace

std::string ChildExit::ToString() const {
  if (signal == 0) return absl::StrCat("exit code ", code);
  return absl::StrCat("signal ", signal, " (", strsignal(signal), ")");
}

absl::StatusOr<ChildExit> RunChild(const ChildProcess& child) {
  ASSIGN_OR_RETURN(const pid_t id, Start(child));
  int state = 0;
  while (waitpid(id, &state, 0) < 0) {
    if (errno == EINTR) continue;
    return absl::InternalError(
        absl::StrCat("waiting for ", child.command[0], ": ", strerror(errno)));
  }
  ChildExit exit;
  if (WIFSIGNALED(state)) {
    exit.signal = WTERMSIG(state);
  } else {
    exit.code = WEXITSTATUS(state);
  }
  if (exit.code == kNotFoundBySetpriv)
    return absl::NotFoundError(
        absl::StrCat(child.command[0], " cannot be run: ", strerror(ENOENT)));
  return exit;
}

}  // namespace moe
