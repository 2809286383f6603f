#include "data/storage/file_system.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>

#include "tests/data/temporary_directory.h"
#include "tests/fake_file_system.h"

namespace moe {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class FileSystemTest : public testing::Test {
 protected:
  FileSystem& files_ = PosixFileSystem();
  TemporaryDirectory directory_;
};

TEST_F(FileSystemTest, WrittenBytesAreReadBack) {
  const std::string path = directory_.Path("a");
  auto file = files_.Create(path);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE((*file)->Append(absl::string_view("x\0y", 3)).ok());
  EXPECT_TRUE((*file)->Append("").ok());
  EXPECT_TRUE((*file)->Append("z").ok());
  EXPECT_TRUE((*file)->Sync().ok());
  EXPECT_TRUE((*file)->Close().ok());
  const std::string expected("x\0yz", 4);
  EXPECT_EQ(directory_.Read("a"), expected);
  EXPECT_EQ(*files_.ReadFile(path, 4), expected);
  EXPECT_EQ((*files_.Map(path))->bytes(), expected);
  EXPECT_EQ(*files_.FileSize(path), 4);
}

TEST_F(FileSystemTest, CreateEmptiesAndAppendContinues) {
  const std::string path = directory_.Write("a", "old");
  ASSERT_TRUE((*files_.OpenForAppend(path))->Append("er").ok());
  EXPECT_EQ(directory_.Read("a"), "older");
  ASSERT_TRUE((*files_.Create(path))->Append("new").ok());
  EXPECT_EQ(directory_.Read("a"), "new");
}

TEST_F(FileSystemTest, ClosingTwiceIsAnError) {
  auto file = files_.Create(directory_.Path("a"));
  ASSERT_TRUE((*file)->Close().ok());
  EXPECT_THAT((*file)->Close().message(), HasSubstr("closed already"));
}

TEST_F(FileSystemTest, AnEmptyFileMapsToNothing) {
  auto mapped = files_.Map(directory_.Write("empty", ""));
  ASSERT_TRUE(mapped.ok()) << mapped.status();
  EXPECT_TRUE((*mapped)->bytes().empty());
}

TEST_F(FileSystemTest, AMissingFileIsNotFoundByName) {
  const std::string path = directory_.Path("none");
  EXPECT_EQ(files_.ReadFile(path, 9).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(files_.Map(path).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(files_.List(path).status().code(), absl::StatusCode::kNotFound);
  const absl::Status status = files_.FileSize(path).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr(path));
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("No such file or directory"));
}

TEST_F(FileSystemTest, AFileLargerThanAskedForIsRefusedWithBothNumbers) {
  const std::string path = directory_.Write("a", "12345");
  EXPECT_TRUE(files_.ReadFile(path, 5).ok());
  const absl::Status status = files_.ReadFile(path, 4).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("it has 5 bytes, at most 4 are taken"));
}

TEST_F(FileSystemTest, DirectoriesAndPipesAreNoFiles) {
  EXPECT_THAT(std::string(files_.Map(directory_.path()).status().message()),
              HasSubstr("a directory, not a regular file"));
  const std::string pipe = directory_.Path("pipe");
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_THAT(std::string(files_.ReadFile(pipe, 9).status().message()),
              HasSubstr("a special file, not a regular file"));
}

TEST_F(FileSystemTest, AnUnreadableFileIsPermissionDenied) {
  if (geteuid() == 0) GTEST_SKIP() << "root may read every file";
  const std::string path = directory_.Write("a", "x");
  std::filesystem::permissions(path, std::filesystem::perms::none);
  EXPECT_EQ(files_.ReadFile(path, 9).status().code(),
            absl::StatusCode::kPermissionDenied);
}

// Of a file that is hidden from all but root nobody can say that it is not
// there. A link to itself is what root cannot look at.
TEST_F(FileSystemTest, OnlyWhatIsSurelyNotThereDoesNotExist) {
  EXPECT_FALSE(files_.Exists(directory_.Path("none")));
  EXPECT_FALSE(files_.Exists(directory_.Write("file", "x") + "/below"));
  const std::string loop = directory_.Path("loop");
  std::filesystem::create_symlink(loop, loop);
  EXPECT_TRUE(files_.Exists(loop));
  EXPECT_THAT(std::string(files_.ReadFile(loop, 9).status().message()),
              HasSubstr("loop"));
}

TEST_F(FileSystemTest, WhatStopsAWriteIsAborted) {
  const std::string missing = directory_.Path("none/a");
  EXPECT_EQ(files_.Create(missing).status().code(), absl::StatusCode::kAborted);
  EXPECT_EQ(files_.Rename(missing, directory_.Path("b")).code(),
            absl::StatusCode::kAborted);
  EXPECT_EQ(files_.SyncDirectory(missing).code(), absl::StatusCode::kAborted);
  const std::string file = directory_.Write("file", "x");
  EXPECT_EQ(files_.MakeDirectories(file + "/sub").code(),
            absl::StatusCode::kAborted);
  EXPECT_EQ(files_.MakeDirectories(file).code(), absl::StatusCode::kAborted);
}

TEST_F(FileSystemTest, AFullDeviceSaysSo) {
  auto file = files_.OpenForAppend("/dev/full");
  if (!file.ok()) GTEST_SKIP() << "no /dev/full here: " << file.status();
  const absl::Status status = (*file)->Append("x");
  EXPECT_EQ(status.code(), absl::StatusCode::kAborted);
  EXPECT_EQ(status.message(),
            "cannot write /dev/full: No space left on device");
}

// A limit on the file's size makes the kernel write a part, then refuse.
TEST_F(FileSystemTest, APartlyWrittenAppendEndsInTheError) {
  rlimit old;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old), 0);
  signal(SIGXFSZ, SIG_IGN);
  rlimit small = old;
  small.rlim_cur = 5;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  auto file = files_.Create(directory_.Path("a"));
  const absl::Status status = (*file)->Append("1234567");
  setrlimit(RLIMIT_FSIZE, &old);
  signal(SIGXFSZ, SIG_DFL);
  EXPECT_EQ(status.code(), absl::StatusCode::kAborted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("File too large"));
  EXPECT_EQ(directory_.Read("a"), "12345");
}

TEST_F(FileSystemTest, DirectoriesAreMadeListedAndRemovedWhole) {
  ASSERT_TRUE(files_.MakeDirectories(directory_.Path("x/y")).ok());
  ASSERT_TRUE(files_.MakeDirectories(directory_.Path("x/y")).ok());
  directory_.Write("x/b", "");
  directory_.Write("x/a", "");
  EXPECT_THAT(*files_.List(directory_.Path("x")), ElementsAre("a", "b", "y"));
  EXPECT_TRUE(files_.IsDirectory(directory_.Path("x")));
  EXPECT_FALSE(files_.IsDirectory(directory_.Path("x/a")));
  EXPECT_TRUE(files_.Exists(directory_.Path("x/a")));
  ASSERT_TRUE(files_.Remove(directory_.Path("x")).ok());
  EXPECT_FALSE(files_.Exists(directory_.Path("x")));
  EXPECT_TRUE(files_.Remove(directory_.Path("x")).ok());
}

TEST_F(FileSystemTest, AtomicWriteIsDurableBeforeItIsVisible) {
  FakeFileSystem recorder;
  const std::string path = directory_.Path("a");
  ASSERT_TRUE(WriteFileAtomically(recorder, path, "new").ok());
  EXPECT_THAT(recorder.log(),
              ElementsAre("create " + path + ".tmp", "append " + path + ".tmp",
                          "sync " + path + ".tmp", "close " + path + ".tmp",
                          "rename " + path + ".tmp to " + path,
                          "sync directory " + directory_.path()));
}

TEST_F(FileSystemTest, AtomicWriteLeavesTheOldOrTheNewWhateverFails) {
  for (int fail_from = 1; fail_from <= 6; ++fail_from) {
    FakeFileSystem refusing;
    refusing.LoseDiskAt(fail_from);
    const std::string path = directory_.Write("a", "old");
    const absl::Status status = WriteFileAtomically(refusing, path, "new");
    EXPECT_EQ(status.code(), absl::StatusCode::kAborted) << fail_from;
    EXPECT_EQ(directory_.Read("a"), fail_from < 6 ? "old" : "new") << fail_from;
  }
}

TEST(JoinPath, PutsOneSlashBetween) {
  EXPECT_EQ(JoinPath("a", "b"), "a/b");
  EXPECT_EQ(JoinPath("a/", "b"), "a/b");
  EXPECT_EQ(JoinPath("/", "b"), "/b");
  EXPECT_EQ(JoinPath("", "b"), "b");
}

}  // namespace
}  // namespace moe
