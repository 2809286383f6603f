#ifndef COMM_BASE_FILE_LIMIT_H_
#define COMM_BASE_FILE_LIMIT_H_

#include <cstdint>
#include <string>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace moe {

// Raises the limit of files that this process may have open (sockets and timers
// are files too) to `wanted`, or as far as it may.
void AllowOpenFiles(uint64_t wanted);

// An error of the system: its words, and the limit if that was reached: "Too
// many open files; at most 1024 may be open (ulimit -n)".
std::string OpenErrorText(const std::error_code& error);

// `what` failed for want of a file. ResourceExhausted where the limit was
// reached, else Unavailable.
absl::Status OpenError(absl::string_view what, const std::error_code& error);

}  // namespace moe

#endif  // COMM_BASE_FILE_LIMIT_H_
