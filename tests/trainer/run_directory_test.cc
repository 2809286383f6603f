#include "trainer/run/run_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "comm/process_groups.h"
#include "tests/data/temporary_directory.h"
#include "tests/fake_file_system.h"

namespace moe {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

class RunDirectoryTest : public testing::Test {
 protected:
  absl::StatusOr<RunDirectoryLocks> Claim() {
    return ClaimRunDirectory(
        files_, run_, TrainConfig(), groups_.world(),
        {.time = absl::ZeroDuration(),
         .say = [this](const std::string& line) { said_.push_back(line); }});
  }

  TemporaryDirectory directory_;
  FakeFileSystem files_;
  const ProcessGroups groups_ = ProcessGroups::CreateSingle();
  const RunDirectory run_{directory_.Path("runs/first")};
  std::vector<std::string> said_;
};

TEST_F(RunDirectoryTest, ASecondJobIsRefusedUntilTheFirstHasEnded) {
  absl::StatusOr<RunDirectoryLocks> first = Claim();
  ASSERT_TRUE(first.ok()) << first.status();
  const absl::Status second = Claim().status();
  EXPECT_EQ(second.code(), absl::StatusCode::kAlreadyExists);
  const std::string taken =
      run_.lock() + ", taken by pid " + std::to_string(getpid()) + " on host ";
  EXPECT_THAT(said_,
              ElementsAre(StartsWith(
                  "waiting for up to 0 for another run to give up " + taken)));
  EXPECT_THAT(std::string(second.message()),
              AllOf(HasSubstr(run_.path()), HasSubstr("taken by pid ")));
  *first = RunDirectoryLocks();
  EXPECT_TRUE(Claim().ok());
}

// Rank 0 was killed, and its lock is free; another rank still writes.
TEST_F(RunDirectoryTest, AnyRankOfAnotherJobThatLivesOnKeepsTheNextJobOut) {
  absl::StatusOr<RunDirectoryLocks> first = Claim();
  ASSERT_TRUE(first.ok()) << first.status();
  first->job.reset();
  const absl::Status second = Claim().status();
  EXPECT_EQ(second.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(second.message()), HasSubstr("lock.ranks"));
  first->ranks.reset();
  EXPECT_TRUE(Claim().ok());
}

// What is durable in a directory is lost with the directory's own name.
TEST_F(RunDirectoryTest, ItsNameAndThoseAboveItAreDurable) {
  ASSERT_TRUE(Claim().ok());
  const auto& log = files_.log();
  for (const std::string& parent :
       {directory_.path(), directory_.Path("runs"), run_.path()}) {
    EXPECT_THAT(log, testing::Contains("sync directory " + parent));
  }
}

}  // namespace
}  // namespace moe
