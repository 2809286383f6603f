// A save in a process of its own, every call of the C library by which it
// changes the disk counted, cut or refused. What FileSystem's own fakes cannot
// see: what the Posix layer makes of errors, and whether anything goes past it.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/data/temporary_directory.h"
#include "tests/journal_file_system.h"
#include "tests/trainer/small_checkpoint.h"
#include "trainer/checkpoint/format/checkpoint_directory.h"
#include "trainer/checkpoint/store/retention.h"

namespace moe {
namespace {

using Kind = JournalFileSystem::Call::Kind;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr char kSaveVariable[] = "MOE_FAULT_TEST_SAVES";
constexpr int kEndedHere = 99;  // faulty_libc.cc

// What the others start as a process of its own; alone it does nothing.
TEST(SaveInAChild, SaysHowItWent) {
  const char* directory = std::getenv(kSaveVariable);
  if (directory == nullptr) return;
  const absl::Status status =
      SmallCheckpoint().Save(PosixFileSystem(), directory, 2, 1);
  std::printf("%s\n", std::string(status.message()).c_str());
  std::fflush(stdout);
  _exit(status.ok() ? 0 : 1);
}

class LibcFaultTest : public testing::Test {
 protected:
  void SetUp() override {
#if defined(__SANITIZE_ADDRESS__)
    GTEST_SKIP() << "AddressSanitizer's library must be the first one loaded";
#endif
    ASSERT_TRUE(checkpoint_.Save(PosixFileSystem(), directory_, 1, 1).ok());
  }

  // Starts a process that saves with this fault and ends. Its exit
  // code; said_ is what it has said, calls_ the library's calls.
  int Save(const std::string& fault, int at) {
    const std::string said = root_.Path("said"), log = root_.Path("log");
    std::remove(log.c_str());
    std::vector<std::string> environment = {
        absl::StrCat("LD_PRELOAD=", MOE_FAULTY_LIBC),
        absl::StrCat("MOE_FAULT_UNDER=", directory_),
        absl::StrCat("MOE_FAULT_LOG=", log),
        absl::StrCat("MOE_FAULT=", fault),
        absl::StrCat("MOE_FAULT_AT=", at),
        absl::StrCat(kSaveVariable, "=", directory_),
        "ASAN_OPTIONS=verify_asan_link_order=0"};
    const int code = Run(environment, said);
    said_ = root_.Read("said");
    calls_ = absl::StrSplit(root_.Read("log"), '\n', absl::SkipEmpty());
    return code;
  }

  // What a start finds; then as many steps later as before, in good order.
  int64_t GoOn() {
    std::vector<std::string> complaints;
    const absl::StatusOr<int64_t> step =
        checkpoint_.Find(directory_, &complaints);
    EXPECT_TRUE(step.ok()) << step.status();
    EXPECT_THAT(complaints, IsEmpty());
    FileSystem& files = PosixFileSystem();
    EXPECT_TRUE(RemoveTemporaries(files, directory_).ok());
    const absl::Status saved = checkpoint_.Save(files, directory_, 3, 1);
    EXPECT_TRUE(saved.ok()) << saved;
    EXPECT_TRUE(files.Remove(directory_).ok());
    EXPECT_TRUE(checkpoint_.Save(files, directory_, 1, 1).ok());
    return step.ok() ? *step : -1;
  }

  int Count(const std::string& call) const {
    return static_cast<int>(std::count(calls_.begin(), calls_.end(), call));
  }

  SmallCheckpoint checkpoint_;
  TemporaryDirectory root_;
  const std::string directory_ = root_.Path("run/checkpoints");
  std::string said_;
  std::vector<std::string> calls_;

 private:
  static int Run(std::vector<std::string>& environment,
                 const std::string& said) {
    std::string program = "/proc/self/exe";
    std::string filter = "--gtest_filter=SaveInAChild.*";
    char* arguments[] = {program.data(), filter.data(), nullptr};
    std::vector<char*> variables;
    for (std::string& variable : environment)
      variables.push_back(variable.data());
    variables.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, said.c_str(),
                                     O_WRONLY | O_CREAT | O_TRUNC, 0600);
    pid_t child = 0;
    int state = 0;
    EXPECT_EQ(posix_spawn(&child, program.c_str(), &actions, nullptr, arguments,
                          variables.data()),
              0);
    posix_spawn_file_actions_destroy(&actions);
    EXPECT_EQ(waitpid(child, &state, 0), child);
    return WIFEXITED(state) ? WEXITSTATUS(state) : -1;
  }
};

TEST_F(LibcFaultTest, EveryChangeOfTheDiskGoesThroughTheFileSystem) {
  ASSERT_EQ(Save("none", 0), 0) << said_;
  EXPECT_EQ(GoOn(), 2);
  JournalFileSystem files;
  ASSERT_TRUE(checkpoint_.Save(files, directory_, 2, 1).ok());
  const auto journal = files.journal();
  const auto count = [&](Kind kind) {
    return static_cast<int>(
        std::count_if(journal.begin(), journal.end(),
                      [&](const auto& call) { return call.kind == kind; }));
  };
  EXPECT_EQ(Count("open"), count(Kind::kCreate));
  EXPECT_EQ(Count("write"), count(Kind::kAppend));
  EXPECT_EQ(Count("fsync"), count(Kind::kSync) + count(Kind::kSyncDirectory));
  EXPECT_EQ(Count("rename"), count(Kind::kRename));
  EXPECT_GT(count(Kind::kRename), 1);
  EXPECT_EQ(Count("close"), count(Kind::kClose));
  EXPECT_EQ(Count("mkdir"), count(Kind::kMake));
  EXPECT_GE(Count("unlink"), count(Kind::kRemove));
  EXPECT_EQ(Count("pwrite") + Count("fdatasync"), 0);
}

TEST_F(LibcFaultTest, AProcessEndedAtAnyCallLeavesTheOldOrTheNew) {
  for (const char* moment : {"before", "after"}) {
    bool new_stands = false;
    int code = kEndedHere;
    for (int k = 1; code == kEndedHere; ++k) {
      SCOPED_TRACE(absl::StrCat(moment, " call ", k));
      code = Save(moment, k);
      const int64_t step = GoOn();
      EXPECT_TRUE(step == 1 || step == 2) << step;
      EXPECT_TRUE(step == 2 || !new_stands) << "the new one has gone again";
      new_stands = step == 2;
    }
    EXPECT_EQ(code, 0) << said_;
    EXPECT_TRUE(new_stands);
  }
}

// An error that no disk names: told with its words and the path, and nothing
// stands under the name; or it came after all was durable.
TEST_F(LibcFaultTest, WhicheverCallIsRefusedItIsToldOrHarmless) {
  for (const int error : {ENOSPC, EIO, EROFS, EDQUOT}) {
    int refused = 0;
    bool reached = true;
    for (int k = 1; reached; ++k) {
      SCOPED_TRACE(absl::StrCat(std::strerror(error), " at call ", k));
      const int code = Save(absl::StrCat(error), k);
      reached = static_cast<int>(calls_.size()) >= k;
      const int64_t step = GoOn();
      EXPECT_EQ(step, code == 0 ? 2 : 1);
      if (code == 0) continue;
      ++refused;
      EXPECT_EQ(code, 1);
      EXPECT_THAT(said_, HasSubstr(std::strerror(error)));
      EXPECT_THAT(said_, HasSubstr(directory_));
    }
    EXPECT_GT(refused, 25);
  }
}

TEST_F(LibcFaultTest, WhatASignalInterruptsIsRepeated) {
  ASSERT_EQ(Save("again", 0), 0) << said_;
  EXPECT_EQ(GoOn(), 2);
  const int syncs = Count("fsync");
  ASSERT_EQ(Save("none", 0), 0) << said_;
  EXPECT_EQ(syncs, 2 * Count("fsync"));
}

TEST_F(LibcFaultTest, ShortWritesAreGoneOnWith) {
  ASSERT_EQ(Save("short", 0), 0) << said_;
  EXPECT_GT(Count("write"), 1000);
  EXPECT_EQ(GoOn(), 2);
}

}  // namespace
}  // namespace moe
