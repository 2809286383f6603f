#ifndef TESTS_DATA_RECORDING_FILE_SYSTEM_H_
#define TESTS_DATA_RECORDING_FILE_SYSTEM_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "comm/status_macros.h"
#include "data/file_system.h"
#include "tests/read_through_file_system.h"

namespace moe {

// The machine's file system, that writes down every operation that changes
// something, such as "rename a to b", and makes one of them fail on demand.
// A failing operation is not carried out.
class RecordingFileSystem : public ReadThroughFileSystem {
 public:
  // Operation `index` (from 0) and all after it fail, as on a disk that has
  // gone.
  void FailFrom(size_t index) { fail_from_ = index; }
  const std::vector<std::string>& operations() const { return operations_; }

  absl::StatusOr<std::unique_ptr<WritableFile>> Create(
      const std::string& path) override {
    RETURN_IF_ERROR(Record(absl::StrCat("create ", path)));
    ASSIGN_OR_RETURN(auto file, base_.Create(path));
    return std::make_unique<File>(*this, path, std::move(file));
  }
  absl::StatusOr<std::unique_ptr<WritableFile>> OpenForAppend(
      const std::string& path) override {
    RETURN_IF_ERROR(Record(absl::StrCat("open ", path)));
    ASSIGN_OR_RETURN(auto file, base_.OpenForAppend(path));
    return std::make_unique<File>(*this, path, std::move(file));
  }
  absl::Status MakeDirectories(const std::string& path) override {
    RETURN_IF_ERROR(Record(absl::StrCat("make ", path)));
    return base_.MakeDirectories(path);
  }
  absl::Status Rename(const std::string& from, const std::string& to) override {
    RETURN_IF_ERROR(Record(absl::StrCat("rename ", from, " to ", to)));
    return base_.Rename(from, to);
  }
  absl::Status Remove(const std::string& path) override {
    RETURN_IF_ERROR(Record(absl::StrCat("remove ", path)));
    return base_.Remove(path);
  }
  absl::Status SyncDirectory(const std::string& path) override {
    RETURN_IF_ERROR(Record(absl::StrCat("sync directory ", path)));
    return base_.SyncDirectory(path);
  }

 private:
  class File : public WritableFile {
   public:
    File(RecordingFileSystem& owner, std::string path,
         std::unique_ptr<WritableFile> base)
        : owner_(owner), path_(std::move(path)), base_(std::move(base)) {}
    absl::Status Append(absl::string_view bytes) override {
      RETURN_IF_ERROR(owner_.Record(absl::StrCat("append to ", path_)));
      return base_->Append(bytes);
    }
    absl::Status Sync() override {
      RETURN_IF_ERROR(owner_.Record(absl::StrCat("sync ", path_)));
      return base_->Sync();
    }
    absl::Status Close() override {
      RETURN_IF_ERROR(owner_.Record(absl::StrCat("close ", path_)));
      return base_->Close();
    }

   private:
    RecordingFileSystem& owner_;
    std::string path_;
    std::unique_ptr<WritableFile> base_;
  };

  absl::Status Record(std::string operation) {
    operations_.push_back(std::move(operation));
    if (operations_.size() <= fail_from_) return absl::OkStatus();
    return absl::AbortedError(
        absl::StrCat("injected: cannot ", operations_.back()));
  }

  std::vector<std::string> operations_;
  size_t fail_from_ = ~size_t{0};
};

}  // namespace moe

#endif  // TESTS_DATA_RECORDING_FILE_SYSTEM_H_
