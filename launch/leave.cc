#include "launch/leave.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "comm/exit_code.h"
#include "comm/process_groups.h"
#include "data/utf8.h"

namespace moe {
namespace {

constexpr absl::Duration kLaunchersTime = absl::Seconds(10);

// One write, so that the lines of several ranks never mix. True if it took all.
// Names of files and what was typed may hold any bytes.
bool Print(std::FILE* file, absl::string_view raw) {
  const std::string text = PrintableText(raw);
  return std::fwrite(text.data(), 1, text.size(), file) == text.size() &&
         std::fflush(file) == 0;
}

}  // namespace

int LeaveWithoutMpi(absl::string_view program,
                    const absl::StatusOr<std::string>& text) {
  absl::Status status = text.status();
  if (ReadLauncherEnvironment().rank != 0) {
    if (!status.ok()) absl::SleepFor(kLaunchersTime);
    return ExitCode(status);
  }
  if (text.ok() && !Print(stdout, *text)) {
    status = absl::AbortedError(absl::StrCat(
        "cannot write to standard output: ", std::strerror(errno)));
  }
  if (!status.ok())
    Print(stderr, absl::StrCat(program, ": ", status.message(), "\n"));
  return ExitCode(status);
}

void LeaveAfterFailedStart(absl::string_view program,
                           const absl::Status& status) {
  Print(stderr, absl::StrCat(program, ": rank ", ReadLauncherEnvironment().rank,
                             ": ", status.message(), "\n"));
  std::_Exit(ExitCode(status));
}

int Leave(absl::string_view program, const absl::Status& status,
          std::unique_ptr<MpiRuntime> runtime,
          std::unique_ptr<Watchdog> watchdog) {
  const int code = ExitCode(status);
  if (!status.ok() && !IsAgreed(status) && runtime->world() > 1) {
    if (watchdog != nullptr) watchdog->Fail(status);
    Print(stderr, absl::StrCat(program, ": rank ", runtime->rank(), ": ",
                               status.message(), "\n"));
    runtime->Abort(code);
  }
  if (!status.ok() && runtime->rank() == 0)
    Print(stderr, absl::StrCat(program, ": ", status.message(), "\n"));
  // All ranks end MPI together: under the eyes of the watchdog, since one of
  // them may not come.
  runtime = nullptr;
  watchdog = nullptr;
  return code;
}

void SayLostRank(absl::string_view program, const LostRankReport& report) {
  Print(stderr, absl::StrCat(program, ": ", report.text));
}

}  // namespace moe
