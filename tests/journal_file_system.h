#ifndef TESTS_JOURNAL_FILE_SYSTEM_H_
#define TESTS_JOURNAL_FILE_SYSTEM_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "data/storage/file_system.h"
#include "tests/read_through_file_system.h"

namespace moe {

// A real file system that keeps a journal of what was done to it and that can
// die: from a chosen call on nothing is done any more and everything fails, as
// for a process that is gone. Directories are made and removed name by name,
// each a call of its own.
class JournalFileSystem : public ReadThroughFileSystem {
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

  using ReadThroughFileSystem::ReadThroughFileSystem;

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

  // Does `perform` for the call, unless dead; `amid` in its place where death
  // comes in its midst.
  absl::Status Do(Call call, absl::FunctionRef<absl::Status()> perform,
                  absl::FunctionRef<absl::Status()> amid);
  absl::Status Do(Call call, absl::FunctionRef<absl::Status()> perform);

 private:
  std::vector<Call> journal_;
  size_t die_at_ = 0;  // 0: never
  Moment moment_ = Moment::kBefore;
  bool dead_ = false;
};

}  // namespace moe

#endif  // TESTS_JOURNAL_FILE_SYSTEM_H_
