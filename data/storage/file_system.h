#ifndef DATA_STORAGE_FILE_SYSTEM_H_
#define DATA_STORAGE_FILE_SYSTEM_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace moe {

// The only way to files that are written. Errors name the path, the operation
// and errno's text; their codes tell whose fault it is:
//
//   Aborted             writing: the disk, its permissions or its room refused
//   NotFound            reading: no such file
//   PermissionDenied    reading: not allowed
//   DataLoss            reading: the device failed
//   FailedPrecondition  reading: not a file, or larger than the caller takes
//   ResourceExhausted   no file descriptor or memory is left for it
//
// A file system that has no fsync, as some have none of directories, is taken
// as it is: what was written there is as safe as it can be.

// A file being written from its beginning. Close it; a destroyed open file is
// closed without a word about errors.
class WritableFile {
 public:
  virtual ~WritableFile() = default;
  virtual absl::Status Append(absl::string_view bytes) = 0;
  virtual absl::Status Sync() = 0;   // fsync
  virtual absl::Status Close() = 0;  // once
};

// Read-only bytes of a whole file, mapped.
class MappedFile {
 public:
  virtual ~MappedFile() = default;
  virtual absl::string_view bytes() const = 0;
};

// What tells a file from one that was put in its place, or written to, since.
struct FileIdentity {
  int64_t bytes = 0;
  uint64_t inode = 0;
  int64_t modified = 0;  // nanoseconds since 1970: of the contents
  int64_t changed = 0;   // the same of contents, name, owner or mode
};

class FileSystem {
 public:
  virtual ~FileSystem() = default;

  // Creates, or empties, a file.
  virtual absl::StatusOr<std::unique_ptr<WritableFile>> Create(
      const std::string& path) = 0;
  // Creates, or continues, a file.
  virtual absl::StatusOr<std::unique_ptr<WritableFile>> OpenForAppend(
      const std::string& path) = 0;
  // With all parents; an existing directory is OK.
  virtual absl::Status MakeDirectories(const std::string& path) = 0;
  virtual absl::Status Rename(const std::string& from,
                              const std::string& to) = 0;
  // A file, or a directory with all it holds; nothing there is OK.
  virtual absl::Status Remove(const std::string& path) = 0;
  // fsync of the directory: names made in it are durable.
  virtual absl::Status SyncDirectory(const std::string& path) = 0;

  // What may not be looked at counts as there, so that who then reads it learns
  // why it cannot be read.
  virtual bool Exists(const std::string& path) = 0;
  virtual bool IsDirectory(const std::string& path) = 0;
  virtual absl::StatusOr<int64_t> FileSize(const std::string& path) = 0;
  virtual absl::StatusOr<FileIdentity> Identify(const std::string& path) = 0;
  // Names in a directory, sorted, without "." and "..".
  virtual absl::StatusOr<std::vector<std::string>> List(
      const std::string& path) = 0;
  virtual absl::StatusOr<std::string> ReadFile(const std::string& path,
                                               int64_t max_bytes) = 0;
  virtual absl::StatusOr<std::unique_ptr<MappedFile>> Map(
      const std::string& path) = 0;
};

// The machine's own; lives as long as the process.
FileSystem& PosixFileSystem();

// MakeDirectories, and the names of those that it makes are durable.
absl::Status MakeDurableDirectories(FileSystem& files, const std::string& path);

// Creates the file with these contents, fsynced; its name is not durable yet.
absl::Status WriteDurably(FileSystem& files, const std::string& path,
                          absl::string_view contents);

// Temporary name beside `path`, fsync, rename, fsync of the directory: the old
// contents or the new, never a part.
absl::Status WriteFileAtomically(FileSystem& files, const std::string& path,
                                 absl::string_view contents);

// "a/b" of "a" and "b"; "b" when a is empty.
std::string JoinPath(absl::string_view directory, absl::string_view name);

// "a" of "a/b"; "." of "b".
std::string ParentOf(const std::string& path);

}  // namespace moe

#endif  // DATA_STORAGE_FILE_SYSTEM_H_
