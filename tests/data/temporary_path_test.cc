#include "data/storage/temporary_path.h"

#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <string>

#include "comm/mpi/refused_memory.h"
#include "tests/data/temporary_directory.h"
#include "tests/fake_file_system.h"

namespace moe {
namespace {

// Another thread comes to end the process in the midst of each Rename.
class InterruptedFileSystem : public FakeFileSystem {
 public:
  absl::Status Rename(const std::string& from, const std::string& to) override {
    removed_ = std::async(std::launch::async,
                          [] { RemovalAtEnd::RemoveAll().unlock(); });
    // It waits. Were it not to, it would be done within microseconds.
    EXPECT_EQ(removed_.wait_for(std::chrono::milliseconds(200)),
              std::future_status::timeout);
    return FakeFileSystem::Rename(from, to);
  }
  void AwaitRemoval() { removed_.wait(); }

 private:
  std::future<void> removed_;
};

TEST(TemporaryPath, WhatHasItsFinalNameIsNotRemoved) {
  TemporaryDirectory directory;
  InterruptedFileSystem files;
  const std::string path = directory.Path("step_1");
  TemporaryPath temporary(files, path + ".tmp");
  ASSERT_TRUE(files.MakeDirectories(temporary.path()).ok());
  ASSERT_TRUE(WriteDurably(files, temporary.path() + "/file", "text").ok());
  ASSERT_TRUE(temporary.RenameTo(path).ok());
  files.AwaitRemoval();
  EXPECT_TRUE(files.Exists(path + "/file"));
  EXPECT_FALSE(files.Exists(temporary.path()));
}

TEST(TemporaryPath, WhatHasNotIsRemovedWhereTheProcessEndsAtOnce) {
  TemporaryDirectory directory;
  FakeFileSystem files;
  const TemporaryPath temporary(files, directory.Path("half"));
  ASSERT_TRUE(WriteDurably(files, temporary.path(), "text").ok());
  RemovalAtEnd::RemoveAll().unlock();
  EXPECT_FALSE(files.Exists(temporary.path()));
}

TEST(TemporaryPath, ADirectoryOfTheMachinesFolderIsNewAndGoes) {
  const auto first = MakeTemporaryDirectory("moe-test-");
  const auto second = MakeTemporaryDirectory("moe-test-");
  ASSERT_TRUE(first.ok() && second.ok()) << first.status() << second.status();
  FileSystem& files = PosixFileSystem();
  EXPECT_NE((*first)->path(), (*second)->path());
  for (const auto* made : {&first, &second})
    EXPECT_TRUE(files.IsDirectory((**made)->path()));
  RemovalAtEnd::RemoveAll().unlock();
  for (const auto* made : {&first, &second})
    EXPECT_FALSE(files.Exists((**made)->path()));
}

}  // namespace
}  // namespace moe
