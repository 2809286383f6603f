#include "launch/command/leave.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "comm/base/exit_code.h"
#include "comm/process_groups.h"
#include "data/storage/file_system.h"
#include "data/text/utf8.h"
#include "trainer/report/lost_rank_report.h"

namespace moe {
namespace {

constexpr absl::Duration kLaunchersTime = absl::Seconds(10);
// Time for the first process to speak: srun does not end the others at all.
constexpr absl::Duration kForeignLaunchersTime = absl::Seconds(2);

// One write, so that the lines of several ranks never mix. True if it took all.
bool Write(std::FILE* file, absl::string_view text) {
  return std::fwrite(text.data(), 1, text.size(), file) == text.size() &&
         std::fflush(file) == 0;
}

// Names of files and what was typed may hold any bytes.
void Say(absl::string_view text) { Write(stderr, PrintableText(text)); }

// A program's output is data, but for a terminal. mpirun gives its processes
// one of its own, whoever reads it in the end.
bool Output(absl::string_view text) {
  const bool shown =
      isatty(STDOUT_FILENO) != 0 && !ReadLauncherEnvironment().launched;
  return shown ? Write(stdout, PrintableText(text)) : Write(stdout, text);
}

// Every rank comes to this end. One that the launcher has not ended by then is
// alone with its error.
int LeaveTogether(absl::string_view program, int rank,
                  const absl::Status& status) {
  if (status.ok()) return 0;
  if (rank == 0) {
    Say(absl::StrCat(program, ": ", status.message(), "\n"));
  } else {
    absl::SleepFor(kLaunchersTime);
    Say(absl::StrCat(program, ": rank ", rank, ": ", status.message(), "\n"));
  }
  return ExitCode(status);
}

}  // namespace

void StreamOutput(absl::string_view text) {
  if (!Output(text) && errno == EPIPE) std::_Exit(0);
}

int LeaveWithoutMpi(absl::string_view program,
                    const absl::StatusOr<std::string>& text) {
  const int rank = ReadLauncherEnvironment().rank;
  absl::Status status = text.status();
  if (text.ok() && rank == 0 && !Output(*text) && errno != EPIPE) {
    status = absl::AbortedError(absl::StrCat(
        "cannot write to standard output: ", std::strerror(errno)));
  }
  return LeaveTogether(program, rank, status);
}

int LeaveWithoutMpi(absl::string_view program, const std::string& text,
                    const absl::Status& status) {
  const int code = LeaveWithoutMpi(program, text);
  if (code != 0 || status.ok()) return code;
  return LeaveTogether(program, ReadLauncherEnvironment().rank, status);
}

int LeaveForeignLauncher(absl::string_view program,
                         const ForeignLauncher& launcher) {
  if (launcher.is_first) {
    Say(absl::StrCat(program, ": ", launcher.message, "\n"));
  } else {
    absl::SleepFor(kForeignLaunchersTime);
  }
  return ExitCode(absl::InvalidArgumentError(launcher.message));
}

void LeaveAfterFailedStart(absl::string_view program,
                           const absl::Status& status) {
  Say(absl::StrCat(program, ": rank ", ReadLauncherEnvironment().rank, ": ",
                   status.message(), "\n"));
  std::_Exit(ExitCode(status));
}

int Leave(absl::string_view program, const absl::Status& status,
          std::unique_ptr<MpiRuntime> runtime,
          std::unique_ptr<Watchdog> watchdog) {
  const int code = ExitCode(status);
  if (!status.ok() && !IsAgreed(status) && runtime->world() > 1) {
    if (watchdog != nullptr) watchdog->Fail(status);
    Say(absl::StrCat(program, ": rank ", runtime->rank(), ": ",
                     status.message(), "\n"));
    runtime->Abort(code);
  }
  if (!status.ok() && runtime->rank() == 0)
    Say(absl::StrCat(program, ": ", status.message(), "\n"));
  // All ranks end MPI together: under the eyes of the watchdog, since one of
  // them may not come.
  runtime = nullptr;
  watchdog = nullptr;
  return code;
}

std::function<void(const LostRankReport&)> LostRankReporter(
    const char* program, const std::string& directory) {
  return [program, directory](const LostRankReport& report) {
    Say(absl::StrCat(program, ": ", report.text));
    // The report was said: it is no longer needed on the disk.
    SaveLostRankReport(PosixFileSystem(), directory, report).IgnoreError();
  };
}

}  // namespace moe
