#include "launch/command/process_setup.h"

#include <csignal>
#include <cstdlib>

#include "comm/mpi/foreign_launcher.h"
#include "comm/mpi/refused_memory.h"
#include "launch/command/leave.h"

namespace moe {

void SetUpProcess(const char* program) {
  std::signal(SIGXFSZ, SIG_IGN);
  std::signal(SIGPIPE, SIG_IGN);
  EndWhereMemoryIsRefused(program);
}

void RefuseForeignLauncher(const char* program) {
  if (const auto foreign = FindForeignLauncher(); foreign.has_value())
    std::_Exit(LeaveForeignLauncher(program, *foreign));
}

}  // namespace moe
