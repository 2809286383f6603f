#include "launch/leave.h"

#include <cstdio>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "comm/exit_code.h"
#include "comm/process_groups.h"

namespace moe {
namespace {

constexpr absl::Duration kLaunchersTime = absl::Seconds(10);

// One write, so that the lines of several ranks never mix.
void Print(std::FILE* file, const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), file);
  std::fflush(file);
}

}  // namespace

int LeaveWithoutMpi(absl::string_view program,
                    const absl::StatusOr<std::string>& text) {
  const int code = ExitCode(text.status());
  if (ReadLauncherEnvironment().rank != 0) {
    if (code != 0) absl::SleepFor(kLaunchersTime);
    return code;
  }
  if (text.ok()) {
    Print(stdout, *text);
  } else {
    Print(stderr, absl::StrCat(program, ": ", text.status().message(), "\n"));
  }
  return code;
}

void LeaveAfterFailedStart(absl::string_view program,
                           const absl::Status& status) {
  Print(stderr, absl::StrCat(program, ": rank ", ReadLauncherEnvironment().rank,
                             ": ", status.message(), "\n"));
  std::_Exit(ExitCode(status));
}

int Leave(absl::string_view program, const absl::Status& status,
          std::unique_ptr<MpiRuntime> runtime) {
  const int code = ExitCode(status);
  if (status.ok()) return code;
  if (!IsAgreed(status) && runtime->world() > 1) {
    Print(stderr, absl::StrCat(program, ": rank ", runtime->rank(), ": ",
                               status.message(), "\n"));
    runtime->Abort(code);
  }
  if (runtime->rank() == 0)
    Print(stderr, absl::StrCat(program, ": ", status.message(), "\n"));
  return code;
}

}  // namespace moe
