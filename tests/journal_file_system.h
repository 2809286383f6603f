#ifndef TESTS_JOURNAL_FILE_SYSTEM_H_
#define TESTS_JOURNAL_FILE_SYSTEM_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "data/file_system.h"

namespace moe {

// A real file system that keeps a journal of what was done to it and that can
// die: from a chosen call on nothing is done any more and everything fails, as
// for a process that is gone. Directories are made and removed name by name,
// each a call of its own.
class JournalFileSystem : public FileSystem {
 public:
  struct Call {
    enum class Kind {
      kCreate,
      kAppend,
      kSync,
      kClose,
      kMake,
      kRename,
      kRemove,
      kSyncDirectory
    };
    Kind kind = Kind::kCreate;
    std::string path;
    std::string argument;  // kAppend: the bytes; kRename: the new path
  };

  // Before a call, after it, or in the midst of it: half of an append.
  enum class Moment { kBefore, kAmid, kAfter };

  explicit JournalFileSystem(FileSystem& base = PosixFileSystem())
      : base_(base) {}

  // Call number `call`, counted from 1 and from now, is the last.
  void DieAt(size_t call, Moment moment);
  bool dead() const { return dead_; }

  const std::vector<Call>& journal() const { return journal_; }

  absl::StatusOr<std::unique_ptr<WritableFile>> Create(
      const std::string& path) override;
  absl::StatusOr<std::unique_ptr<WritableFile>> OpenForAppend(
      const std::string& path) override;
  absl::Status MakeDirectories(const std::string& path) override;
  absl::Status Rename(const std::string& from, const std::string& to) override;
  absl::Status Remove(const std::string& path) override;
  absl::Status SyncDirectory(const std::string& path) override;

  bool Exists(const std::string& path) override { return base_.Exists(path); }
  bool IsDirectory(const std::string& path) override {
    return base_.IsDirectory(path);
  }
  absl::StatusOr<int64_t> FileSize(const std::string& path) override {
    return base_.FileSize(path);
  }
  absl::StatusOr<std::vector<std::string>> List(
      const std::string& path) override {
    return base_.List(path);
  }
  absl::StatusOr<std::string> ReadFile(const std::string& path,
                                       int64_t max_bytes) override {
    return base_.ReadFile(path, max_bytes);
  }
  absl::StatusOr<std::unique_ptr<MappedFile>> Map(
      const std::string& path) override {
    return base_.Map(path);
  }

  // Does `perform` for the call, unless dead; `amid` in its place where death
  // comes in its midst.
  absl::Status Do(Call call, absl::FunctionRef<absl::Status()> perform,
                  absl::FunctionRef<absl::Status()> amid);
  absl::Status Do(Call call, absl::FunctionRef<absl::Status()> perform);

 private:
  FileSystem& base_;
  std::vector<Call> journal_;
  size_t die_at_ = 0;  // 0: never
  Moment moment_ = Moment::kBefore;
  bool dead_ = false;
};

}  // namespace moe

#endif  // TESTS_JOURNAL_FILE_SYSTEM_H_
