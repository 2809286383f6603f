#include "launch/process_setup.h"

#include <csignal>
#include <cstdlib>

#include "comm/foreign_launcher.h"
#include "comm/refused_memory.h"
#include "launch/leave.h"

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
