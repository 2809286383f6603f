#include "comm/watch/watchdog.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "comm/mpi/roster.h"
#include "comm/process_groups.h"
#include "tests/mpi_test.h"

namespace moe {
namespace {

using testing::HasSubstr;

// This process opens no file while it lives, as its limit would then be passed.
class NoFilesLeft {
 public:
  NoFilesLeft() {
    getrlimit(RLIMIT_NOFILE, &before_);
    const int lowest = dup(0);  // that is free
    close(lowest);
    limit_ = static_cast<rlim_t>(lowest);
    const rlimit now = {.rlim_cur = limit_, .rlim_max = before_.rlim_max};
    setrlimit(RLIMIT_NOFILE, &now);
  }
  ~NoFilesLeft() { setrlimit(RLIMIT_NOFILE, &before_); }
  NoFilesLeft(const NoFilesLeft&) = delete;
  NoFilesLeft& operator=(const NoFilesLeft&) = delete;

  rlim_t limit() const { return limit_; }

 private:
  rlimit before_ = {};
  rlim_t limit_ = 0;
};

absl::StatusOr<std::unique_ptr<Watchdog>> Start() {
  return Watchdog::Start(
      TestRuntime(),
      {.collective_timeout = absl::Seconds(60),
       .report =
           [](const LostRankReport& report) { ADD_FAILURE() << report.text; }},
      /*start_watch=*/nullptr);
}

// The rank without a file is one with a hub, or, of four, one without.
TEST(Watchdog, SaysOnAllRanksThatOneHasNoFileLeft) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "UndefinedBehaviorSanitizer opens a pipe to look at an "
                  "object's type, and takes it for none without";
#endif
  // Open MPI's own files, for its connections, are open by then.
  EXPECT_TRUE(GatherRoster().ok());
  for (int poor : {1, TestRuntime().world() - 1}) {
    std::optional<NoFilesLeft> no_files;
    if (TestRuntime().rank() == poor) no_files.emplace();
    const absl::StatusOr<std::unique_ptr<Watchdog>> watchdog = Start();
    EXPECT_TRUE(absl::IsResourceExhausted(watchdog.status()))
        << watchdog.status();
    EXPECT_TRUE(IsAgreed(watchdog.status()));
    const std::string message(watchdog.status().message());
    EXPECT_THAT(message, HasSubstr(absl::StrCat("of rank ", poor, " ")));
    EXPECT_THAT(message, HasSubstr("ulimit -n"));
    EXPECT_THAT(message, HasSubstr("parallel.watchdog=false"));
    if (no_files.has_value()) {
      EXPECT_THAT(message, HasSubstr(absl::StrCat(no_files->limit(), " may")));
    }
  }
}

TEST(Watchdog, StartsAndLeavesInGoodOrder) {
  for (int i = 0; i < 3; ++i) {
    const absl::StatusOr<std::unique_ptr<Watchdog>> watchdog = Start();
    EXPECT_TRUE(watchdog.ok()) << watchdog.status();
  }
}

}  // namespace
}  // namespace moe
