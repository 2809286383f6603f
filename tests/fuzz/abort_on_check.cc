// Takes the place of comm/base/check.cc, whose quiet exit a fuzzer does not
// see: it would lose the input that led there.

#include <cstdio>
#include <cstdlib>

#include "comm/base/check.h"

namespace moe {

void CheckFailed(const char* file, int line, const char* condition) {
  std::fprintf(stderr, "%s:%d: check failed: %s\n", file, line, condition);
  std::abort();
}

}  // namespace moe
