#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "comm/base/status_macros.h"
#include "data/storage/file_system.h"

namespace moe {
namespace {

namespace fs = std::filesystem;

std::string Describe(absl::string_view operation, const std::string& path,
                     int error) {
  return absl::StrCat("cannot ", operation, " ", path, ": ",
                      std::generic_category().message(error));
}

// What this process or machine has no more of: not the file's fault.
bool IsResource(int error) {
  return error == EMFILE || error == ENFILE || error == ENOMEM;
}

// Whatever else stops a write is the disk's affair, so that one code means "the
// disk refused" all the way up.
absl::Status WriteError(absl::string_view operation, const std::string& path,
                        int error) {
  std::string message = Describe(operation, path, error);
  return IsResource(error) ? absl::ResourceExhaustedError(message)
                           : absl::AbortedError(message);
}

// Some file systems (of containers, of networks, in user space) cannot sync a
// directory, or anything; there is nothing more that a program could do.
bool CannotSync(int error) {
  return error == EINVAL || error == ENOSYS || error == EOPNOTSUPP;
}

absl::Status ReadError(absl::string_view operation, const std::string& path,
                       int error) {
  std::string message = Describe(operation, path, error);
  if (IsResource(error)) return absl::ResourceExhaustedError(message);
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return absl::NotFoundError(message);
    case EACCES:
    case EPERM:
      return absl::PermissionDeniedError(message);
    case EIO:
      return absl::DataLossError(message);
    default:
      return absl::FailedPreconditionError(message);
  }
}

// Repeats a system call that a signal interrupted.
template <typename Call>
auto Retry(Call call) {
  auto result = call();
  while (result == -1 && errno == EINTR) result = call();
  return result;
}

// An open descriptor; closes what is still open.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }
  int Release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

class PosixWritableFile : public WritableFile {
 public:
  PosixWritableFile(std::string path, Descriptor fd)
      : path_(std::move(path)), fd_(std::move(fd)) {}

  absl::Status Append(absl::string_view bytes) override {
    while (!bytes.empty()) {
      const ssize_t written =
          Retry([&] { return write(fd_.get(), bytes.data(), bytes.size()); });
      if (written < 0) return WriteError("write", path_, errno);
      if (written == 0) return WriteError("write", path_, EIO);  // for ever
      bytes.remove_prefix(static_cast<size_t>(written));
    }
    return absl::OkStatus();
  }

  absl::Status Sync() override {
    if (Retry([&] { return fsync(fd_.get()); }) == 0 || CannotSync(errno))
      return absl::OkStatus();
    return WriteError("sync", path_, errno);
  }

  // Never repeated: Linux has freed the descriptor even when close says EINTR.
  absl::Status Close() override {
    const int fd = fd_.Release();
    if (fd < 0) {
      return absl::FailedPreconditionError(
          absl::StrCat("cannot close ", path_, ": it is closed already"));
    }
    if (close(fd) == 0 || errno == EINTR) return absl::OkStatus();
    return WriteError("close", path_, errno);
  }

 private:
  std::string path_;
  Descriptor fd_;
};

class PosixMappedFile : public MappedFile {
 public:
  // `data` of mmap, or null for an empty file, which cannot be mapped.
  PosixMappedFile(void* data, size_t size) : data_(data), size_(size) {}
  ~PosixMappedFile() override {
    if (data_ != nullptr) munmap(data_, size_);
  }
  PosixMappedFile(const PosixMappedFile&) = delete;
  PosixMappedFile& operator=(const PosixMappedFile&) = delete;

  absl::string_view bytes() const override {
    return {static_cast<const char*>(data_), size_};
  }

 private:
  void* data_;
  size_t size_;
};

absl::StatusOr<std::unique_ptr<WritableFile>> OpenForWriting(
    const std::string& path, absl::string_view operation, int flags) {
  Descriptor fd(Retry([&] {
    return open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0666);
  }));
  if (fd.get() < 0) return WriteError(operation, path, errno);
  return std::make_unique<PosixWritableFile>(path, std::move(fd));
}

struct OpenedFile {
  Descriptor fd;
  int64_t size;
  FileIdentity identity;
};

int64_t Nanoseconds(const timespec& time) {
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

// O_NONBLOCK: a pipe must be refused below, not waited for here.
absl::StatusOr<OpenedFile> OpenForReading(const std::string& path) {
  Descriptor fd(Retry(
      [&] { return open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK); }));
  if (fd.get() < 0) return ReadError("open", path, errno);
  struct stat info;
  if (fstat(fd.get(), &info) != 0) return ReadError("stat", path, errno);
  if (!S_ISREG(info.st_mode)) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot read ", path, ": it is ",
                     S_ISDIR(info.st_mode) ? "a directory" : "a special file",
                     ", not a regular file"));
  }
  const auto size = static_cast<int64_t>(info.st_size);
  return OpenedFile{std::move(fd), size,
                    FileIdentity{.bytes = size,
                                 .inode = info.st_ino,
                                 .modified = Nanoseconds(info.st_mtim),
                                 .changed = Nanoseconds(info.st_ctim)}};
}

class Posix : public FileSystem {
 public:
  absl::StatusOr<std::unique_ptr<WritableFile>> Create(
      const std::string& path) override {
    return OpenForWriting(path, "create", O_TRUNC);
  }

  absl::StatusOr<std::unique_ptr<WritableFile>> OpenForAppend(
      const std::string& path) override {
    return OpenForWriting(path, "append to", O_APPEND);
  }

  absl::Status MakeDirectories(const std::string& path) override {
    std::error_code error;
    fs::create_directories(path, error);
    if (error) return WriteError("make directory", path, error.value());
    if (!IsDirectory(path)) return WriteError("make directory", path, EEXIST);
    return absl::OkStatus();
  }

  absl::Status Rename(const std::string& from, const std::string& to) override {
    if (rename(from.c_str(), to.c_str()) == 0) return absl::OkStatus();
    return WriteError("rename", absl::StrCat(from, " to ", to), errno);
  }

  absl::Status Remove(const std::string& path) override {
    std::error_code error;
    fs::remove_all(path, error);
    if (!error) return absl::OkStatus();
    return WriteError("remove", path, error.value());
  }

  absl::Status SyncDirectory(const std::string& path) override {
    const Descriptor fd(Retry([&] {
      return open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }));
    if (fd.get() < 0) return WriteError("open directory", path, errno);
    // Some say EBADF of what is open for reading alone.
    if (Retry([&] { return fsync(fd.get()); }) == 0 || CannotSync(errno) ||
        errno == EBADF)
      return absl::OkStatus();
    return WriteError("sync directory", path, errno);
  }

  bool Exists(const std::string& path) override {
    struct stat info;
    if (stat(path.c_str(), &info) == 0) return true;
    return errno != ENOENT && errno != ENOTDIR;
  }

  bool IsDirectory(const std::string& path) override {
    struct stat info;
    return stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
  }

  absl::StatusOr<int64_t> FileSize(const std::string& path) override {
    ASSIGN_OR_RETURN(const OpenedFile file, OpenForReading(path));
    return file.size;
  }

  absl::StatusOr<FileIdentity> Identify(const std::string& path) override {
    ASSIGN_OR_RETURN(const OpenedFile file, OpenForReading(path));
    return file.identity;
  }

  absl::StatusOr<std::vector<std::string>> List(
      const std::string& path) override {
    std::error_code error;
    std::vector<std::string> names;
    fs::directory_iterator entry(path, error);
    while (!error && entry != fs::directory_iterator()) {
      names.push_back(entry->path().filename().string());
      entry.increment(error);
    }
    if (error) return ReadError("list", path, error.value());
    std::sort(names.begin(), names.end());
    return names;
  }

  absl::StatusOr<std::string> ReadFile(const std::string& path,
                                       int64_t max_bytes) override {
    ASSIGN_OR_RETURN(const OpenedFile file, OpenForReading(path));
    if (file.size > max_bytes) {
      return absl::FailedPreconditionError(
          absl::StrCat("cannot read ", path, ": it has ", file.size,
                       " bytes, at most ", max_bytes, " are taken"));
    }
    std::string contents(static_cast<size_t>(file.size), '\0');
    size_t filled = 0;
    while (filled < contents.size()) {
      const ssize_t count = Retry([&] {
        return read(file.fd.get(), contents.data() + filled,
                    contents.size() - filled);
      });
      if (count < 0) return ReadError("read", path, errno);
      if (count == 0) break;  // it became shorter meanwhile
      filled += static_cast<size_t>(count);
    }
    contents.resize(filled);
    return contents;
  }

  absl::StatusOr<std::unique_ptr<MappedFile>> Map(
      const std::string& path) override {
    ASSIGN_OR_RETURN(const OpenedFile file, OpenForReading(path));
    const size_t size = static_cast<size_t>(file.size);
    if (size == 0) return std::make_unique<PosixMappedFile>(nullptr, 0);
    // Private: file systems in user space may refuse shared mappings.
    void* data = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.fd.get(), 0);
    if (data == MAP_FAILED) return ReadError("map", path, errno);
    return std::make_unique<PosixMappedFile>(data, size);
  }
};

}  // namespace

FileSystem& PosixFileSystem() {
  static Posix& files = *new Posix;  // never destroyed: see the header
  return files;
}

}  // namespace moe
