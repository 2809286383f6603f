#include "comm/base/check.h"

#include <cstdio>
#include <cstdlib>

#include "comm/base/stack_trace.h"

namespace moe {

void CheckFailed(const char* file, int line, const char* condition) {
  std::fprintf(stderr, "%s:%d: check failed: %s\n", file, line, condition);
  std::fflush(nullptr);
  TellOfDefect();
  // Not exit(): destructors would wait for other ranks.
  std::_Exit(70);
}

}  // namespace moe
