#include "data/storage/lock_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "tests/data/temporary_directory.h"

namespace moe {
namespace {

using Attempt = LockFile::Attempt;
using testing::HasSubstr;
using testing::IsEmpty;

class LockFileTest : public testing::Test {
 protected:
  std::unique_ptr<LockFile> Make(bool shared, LockFile::Timing timing = {}) {
    return std::make_unique<LockFile>(path_, shared, timing);
  }
  Attempt Try(LockFile& lock) {
    const absl::StatusOr<Attempt> attempt = lock.Try();
    EXPECT_TRUE(attempt.ok()) << attempt.status();
    return attempt.value_or(Attempt::kWatched);
  }
  // What a process that was killed while it had the lock left.
  void LeaveStale(bool shared) {
    const pid_t child = fork();
    if (child == 0) {
      LockFile lock(path_, shared, {});
      _exit(lock.Try().ok() ? 0 : 1);
    }
    int state = 0;
    ASSERT_EQ(waitpid(child, &state, 0), child);
    ASSERT_EQ(state, 0);
    ASSERT_FALSE(Names().empty());
  }
  std::vector<std::string> Names() {
    return *PosixFileSystem().List(directory_.path());
  }

  TemporaryDirectory directory_;
  const std::string path_ = directory_.Path("lock");
};

TEST_F(LockFileTest, OneAloneOrSeveralTogether) {
  auto alone = Make(/*shared=*/false);
  ASSERT_EQ(Try(*alone), Attempt::kTaken);
  EXPECT_EQ(Try(*Make(false)), Attempt::kHeld);
  auto first = Make(true);
  EXPECT_EQ(Try(*first), Attempt::kHeld);
  EXPECT_THAT(first->holder(), HasSubstr(absl::StrCat("pid ", getpid())));
  alone.reset();
  EXPECT_EQ(Try(*first), Attempt::kTaken);
  auto second = Make(true);
  EXPECT_EQ(Try(*second), Attempt::kTaken);
  EXPECT_EQ(Try(*Make(false)), Attempt::kHeld);
  first.reset();
  EXPECT_EQ(Try(*Make(false)), Attempt::kHeld);
  second.reset();
  EXPECT_EQ(Try(*Make(false)), Attempt::kTaken);
  EXPECT_THAT(Names(), IsEmpty());
}

TEST_F(LockFileTest, AKilledOwnerOfThisHostKeepsNobodyOut) {
  for (const bool was_shared : {false, true}) {
    for (const bool shared : {false, true}) {
      LeaveStale(was_shared);
      EXPECT_EQ(Try(*Make(shared)), Attempt::kTaken);
    }
  }
  // Who shares does not look for others who share; who is alone does.
  EXPECT_EQ(Try(*Make(false)), Attempt::kTaken);
  EXPECT_THAT(Names(), IsEmpty());
}

// Its number may be another process's by now: here this one's.
TEST_F(LockFileTest, AnotherProcessOfTheSameNumberIsNotTheOwner) {
  auto lock = Make(false);
  ASSERT_EQ(Try(*lock), Attempt::kTaken);
  std::string contents = directory_.Read("lock.held");
  lock.reset();
  std::vector<std::string> lines = absl::StrSplit(contents, '\n');
  lines[2] += "0";  // when it was started
  directory_.Write("lock.held", absl::StrJoin(lines, "\n"));
  EXPECT_EQ(Try(*Make(false)), Attempt::kTaken);
}

// Of another host nobody can ask: its file is watched.
TEST_F(LockFileTest, AnOwnerElsewhereLivesAsLongAsItsFileChanges) {
  const std::string owner = "pid 1 on host elsewhere\nboot ns\n7\n";
  const LockFile::Timing patient = {.stale = std::chrono::hours(1)};
  directory_.Write("lock.held", owner + "1\n");
  auto lock = Make(false, patient);
  EXPECT_EQ(Try(*lock), Attempt::kWatched);
  EXPECT_EQ(Try(*lock), Attempt::kWatched);
  directory_.Write("lock.held", owner + "2\n");
  EXPECT_EQ(Try(*lock), Attempt::kHeld);
  EXPECT_EQ(lock->holder(), "pid 1 on host elsewhere");

  const LockFile::Timing hasty = {.stale = std::chrono::milliseconds(-1)};
  EXPECT_EQ(Try(*Make(false, hasty)), Attempt::kTaken);
  for (const char* strange : {"", "nonsense", "pid x on host y\n\n\n\n"}) {
    directory_.Write("lock.held", strange);
    EXPECT_EQ(Try(*Make(false, patient)), Attempt::kWatched) << strange;
    EXPECT_EQ(Try(*Make(false, hasty)), Attempt::kTaken) << strange;
  }
}

TEST_F(LockFileTest, TheFileChangesWhileTheLockIsHeld) {
  auto lock = Make(false, {.beat = std::chrono::milliseconds(1)});
  ASSERT_EQ(Try(*lock), Attempt::kTaken);
  const std::string first = directory_.Read("lock.held");
  while (directory_.Read("lock.held") == first) {
  }
}

TEST_F(LockFileTest, ADirectoryThatIsNotThereIsAnError) {
  LockFile lock(directory_.Path("none/lock"), false, {});
  EXPECT_EQ(lock.Try().status().code(), absl::StatusCode::kAborted);
}

}  // namespace
}  // namespace moe
