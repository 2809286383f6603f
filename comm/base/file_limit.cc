#include "comm/base/file_limit.h"

#include <sys/resource.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_cat.h"

namespace moe {
namespace {

// Not by the error's condition, which asio's category does not know.
bool IsLimit(const std::error_code& error) { return error.value() == EMFILE; }

}  // namespace

void AllowOpenFiles(uint64_t wanted) {
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  wanted = std::min<uint64_t>(limit.rlim_max, wanted);
  if (limit.rlim_cur >= wanted) return;
  limit.rlim_cur = wanted;
  setrlimit(RLIMIT_NOFILE, &limit);
}

std::string OpenErrorText(const std::error_code& error) {
  if (!IsLimit(error)) return error.message();
  rlimit limit = {};
  getrlimit(RLIMIT_NOFILE, &limit);
  return absl::StrCat(error.message(), "; at most ", limit.rlim_cur,
                      " may be open (ulimit -n)");
}

absl::Status OpenError(absl::string_view what, const std::error_code& error) {
  const std::string text = absl::StrCat(what, ": ", OpenErrorText(error));
  return IsLimit(error) ? absl::ResourceExhaustedError(text)
                        : absl::UnavailableError(text);
}

}  // namespace moe
