#ifndef TESTS_FAKE_FILE_SYSTEM_H_
#define TESTS_FAKE_FILE_SYSTEM_H_

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "data/storage/file_system.h"
#include "tests/read_through_file_system.h"

namespace moe {

// A real file system whose writing can be watched and made to fail. Writes are
// counted from 1: Create, OpenForAppend, Append, Sync, Close, MakeDirectories,
// Rename and SyncDirectory. Removing is logged but does not count or fail: a
// full disk does not refuse it.
class FakeFileSystem : public ReadThroughFileSystem {
 public:
  using ReadThroughFileSystem::ReadThroughFileSystem;

  // From here on, write number `first`, counted from now, fails with Aborted
  // and "no space left (injected)"; so do all after it if `and_all_after`.
  void FailWrite(int64_t first, bool and_all_after = false);
  // The same with all after it, as on a disk that has gone: removing counts as
  // a write, and fails too.
  void LoseDiskAt(int64_t first);
  void Heal() { fail_at_ = 0; }

  // Writes since the last FailWrite or the beginning.
  int64_t num_writes() const { return num_writes_; }
  // What was asked for, in order: "append DIRECTORY/NAME", "rename A to B".
  const std::vector<std::string>& log() const { return log_; }

  absl::StatusOr<std::unique_ptr<WritableFile>> Create(
      const std::string& path) override;
  absl::StatusOr<std::unique_ptr<WritableFile>> OpenForAppend(
      const std::string& path) override;
  absl::Status MakeDirectories(const std::string& path) override;
  absl::Status Rename(const std::string& from, const std::string& to) override;
  absl::Status Remove(const std::string& path) override;
  absl::Status SyncDirectory(const std::string& path) override;

  // One write to `path`: OK, or the failure that was asked for.
  absl::Status Count(const std::string& operation, const std::string& path);

 private:
  std::mutex mutex_;  // a writer counts beside the thread that trains
  std::vector<std::string> log_;
  int64_t num_writes_ = 0;
  int64_t fail_at_ = 0;  // 0: never
  bool and_all_after_ = false;
  bool removing_counts_ = false;
};

}  // namespace moe

#endif  // TESTS_FAKE_FILE_SYSTEM_H_
