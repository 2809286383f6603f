#include "trainer/report/lost_rank_report.h"

#include <chrono>
#include <future>
#include <memory>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "comm/base/quiet_thread.h"
#include "comm/base/status_macros.h"

namespace moe {
namespace {

constexpr std::chrono::seconds kDiskPatience(2);

absl::Status Save(FileSystem& files, const std::string& directory,
                  const std::string& text) {
  RETURN_IF_ERROR(files.MakeDirectories(directory));
  return WriteFileAtomically(files, JoinPath(directory, "lost_rank.txt"), text);
}

}  // namespace

absl::Status SaveLostRankReport(FileSystem& files, const std::string& directory,
                                const LostRankReport& report) {
  const std::string text =
      absl::StrCat(report.text, "exit code ", report.exit_code, ", ",
                   absl::FormatTime("%Y-%m-%dT%H:%M:%S%Ez", absl::Now(),
                                    absl::LocalTimeZone()),
                   "\n");
  // Not joined where the disk hangs: the process is about to end.
  auto saved = std::make_shared<std::promise<absl::Status>>();
  std::future<absl::Status> result = saved->get_future();
  ASSIGN_OR_RETURN(std::thread thread, StartQuietThread("report", [=, &files] {
                     saved->set_value(Save(files, directory, text));
                   }));
  thread.detach();
  if (result.wait_for(kDiskPatience) == std::future_status::ready)
    return result.get();
  return absl::DeadlineExceededError(
      absl::StrCat(directory, ": the disk does not answer"));
}

}  // namespace moe
