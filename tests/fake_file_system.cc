#include "tests/fake_file_system.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "comm/base/status_macros.h"

namespace moe {
namespace {

class FakeFile : public WritableFile {
 public:
  FakeFile(FakeFileSystem& files, std::string path,
           std::unique_ptr<WritableFile> base)
      : files_(files), path_(std::move(path)), base_(std::move(base)) {}

  absl::Status Append(absl::string_view bytes) override {
    RETURN_IF_ERROR(files_.Count("append", path_));
    return base_->Append(bytes);
  }
  absl::Status Sync() override {
    RETURN_IF_ERROR(files_.Count("sync", path_));
    return base_->Sync();
  }
  absl::Status Close() override {
    RETURN_IF_ERROR(files_.Count("close", path_));
    return base_->Close();
  }

 private:
  FakeFileSystem& files_;
  std::string path_;
  std::unique_ptr<WritableFile> base_;
};

}  // namespace

void FakeFileSystem::FailWrite(int64_t first, bool and_all_after) {
  num_writes_ = 0;
  fail_at_ = first;
  and_all_after_ = and_all_after;
  removing_counts_ = false;
}

void FakeFileSystem::LoseDiskAt(int64_t first) {
  FailWrite(first, /*and_all_after=*/true);
  removing_counts_ = true;
}

absl::Status FakeFileSystem::Count(const std::string& operation,
                                   const std::string& path) {
  const std::lock_guard<std::mutex> lock(mutex_);
  log_.push_back(absl::StrCat(operation, " ", path));
  ++num_writes_;
  const bool fails = fail_at_ > 0 && (and_all_after_ ? num_writes_ >= fail_at_
                                                     : num_writes_ == fail_at_);
  if (!fails) return absl::OkStatus();
  return absl::AbortedError(
      absl::StrCat(path, ": ", operation, ": no space left (injected)"));
}

absl::StatusOr<std::unique_ptr<WritableFile>> FakeFileSystem::Create(
    const std::string& path) {
  RETURN_IF_ERROR(Count("create", path));
  ASSIGN_OR_RETURN(std::unique_ptr<WritableFile> file, base_.Create(path));
  return std::make_unique<FakeFile>(*this, path, std::move(file));
}

absl::StatusOr<std::unique_ptr<WritableFile>> FakeFileSystem::OpenForAppend(
    const std::string& path) {
  RETURN_IF_ERROR(Count("open", path));
  ASSIGN_OR_RETURN(std::unique_ptr<WritableFile> file,
                   base_.OpenForAppend(path));
  return std::make_unique<FakeFile>(*this, path, std::move(file));
}

absl::Status FakeFileSystem::MakeDirectories(const std::string& path) {
  RETURN_IF_ERROR(Count("make", path));
  return base_.MakeDirectories(path);
}

absl::Status FakeFileSystem::Rename(const std::string& from,
                                    const std::string& to) {
  RETURN_IF_ERROR(Count("rename", absl::StrCat(from, " to ", to)));
  return base_.Rename(from, to);
}

absl::Status FakeFileSystem::Remove(const std::string& path) {
  if (removing_counts_) {
    RETURN_IF_ERROR(Count("remove", path));
  } else {
    log_.push_back(absl::StrCat("remove ", path));
  }
  return base_.Remove(path);
}

absl::Status FakeFileSystem::SyncDirectory(const std::string& path) {
  RETURN_IF_ERROR(Count("sync directory", path));
  return base_.SyncDirectory(path);
}

}  // namespace moe
