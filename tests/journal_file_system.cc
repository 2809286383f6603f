#include "tests/journal_file_system.h"

#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "comm/base/status_macros.h"

namespace moe {
namespace {

using Kind = JournalFileSystem::Call::Kind;

absl::Status Dead() { return absl::AbortedError("the process is gone"); }

class JournalFile : public WritableFile {
 public:
  JournalFile(JournalFileSystem& files, std::string path,
              std::unique_ptr<WritableFile> base)
      : files_(files), path_(std::move(path)), base_(std::move(base)) {}

  absl::Status Append(absl::string_view bytes) override {
    return files_.Do(
        {Kind::kAppend, path_, std::string(bytes)},
        [&] { return base_->Append(bytes); },
        [&] { return base_->Append(bytes.substr(0, bytes.size() / 2)); });
  }
  absl::Status Sync() override {
    return files_.Do({Kind::kSync, path_, ""}, [&] { return base_->Sync(); });
  }
  absl::Status Close() override {
    return files_.Do({Kind::kClose, path_, ""}, [&] { return base_->Close(); });
  }

 private:
  JournalFileSystem& files_;
  std::string path_;
  std::unique_ptr<WritableFile> base_;
};

}  // namespace

void JournalFileSystem::DieAt(size_t call, Moment moment) {
  die_at_ = journal_.size() + call;
  moment_ = moment;
}

absl::Status JournalFileSystem::Do(Call call,
                                   absl::FunctionRef<absl::Status()> perform,
                                   absl::FunctionRef<absl::Status()> amid) {
  if (dead_) return Dead();
  journal_.push_back(std::move(call));
  dead_ = journal_.size() == die_at_;
  if (!dead_) return perform();
  if (moment_ == Moment::kAmid) amid().IgnoreError();
  if (moment_ == Moment::kAfter) perform().IgnoreError();
  return Dead();
}

absl::Status JournalFileSystem::Do(Call call,
                                   absl::FunctionRef<absl::Status()> perform) {
  return Do(std::move(call), perform, [] { return absl::OkStatus(); });
}

absl::StatusOr<std::unique_ptr<WritableFile>> JournalFileSystem::Create(
    const std::string& path) {
  absl::StatusOr<std::unique_ptr<WritableFile>> file = nullptr;
  RETURN_IF_ERROR(Do({Kind::kCreate, path, ""}, [&] {
    file = base_.Create(path);
    return file.status();
  }));
  return std::make_unique<JournalFile>(*this, path, *std::move(file));
}

absl::StatusOr<std::unique_ptr<WritableFile>> JournalFileSystem::OpenForAppend(
    const std::string& path) {
  return absl::UnimplementedError(
      absl::StrCat(path, ": no checkpoint continues a file"));
}

absl::Status JournalFileSystem::MakeDirectories(const std::string& path) {
  if (path.empty() || base_.IsDirectory(path)) return absl::OkStatus();
  RETURN_IF_ERROR(
      MakeDirectories(std::filesystem::path(path).parent_path().string()));
  return Do({Kind::kMake, path, ""},
            [&] { return base_.MakeDirectories(path); });
}

absl::Status JournalFileSystem::Rename(const std::string& from,
                                       const std::string& to) {
  return Do({Kind::kRename, from, to}, [&] { return base_.Rename(from, to); });
}

absl::Status JournalFileSystem::Remove(const std::string& path) {
  if (!base_.Exists(path)) return absl::OkStatus();
  if (base_.IsDirectory(path)) {
    ASSIGN_OR_RETURN(const std::vector<std::string> names, base_.List(path));
    for (const std::string& name : names)
      RETURN_IF_ERROR(Remove(JoinPath(path, name)));
  }
  return Do({Kind::kRemove, path, ""}, [&] { return base_.Remove(path); });
}

absl::Status JournalFileSystem::SyncDirectory(const std::string& path) {
  return Do({Kind::kSyncDirectory, path, ""},
            [&] { return base_.SyncDirectory(path); });
}

}  // namespace moe
