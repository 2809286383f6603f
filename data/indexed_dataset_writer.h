#ifndef DATA_INDEXED_DATASET_WRITER_H_
#define DATA_INDEXED_DATASET_WRITER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "data/storage/digest.h"
#include "data/storage/file_system.h"
#include "data/storage/temporary_path.h"
#include "data/token_type.h"

namespace moe {

// Collects small values and appends them to a file in large pieces, of which it
// keeps the digest.
class BufferedWriter {
 public:
  explicit BufferedWriter(std::unique_ptr<WritableFile> file)
      : file_(std::move(file)) {}

  // The value's bytes; the machine's byte order is the files': little-endian.
  template <typename T>
  absl::Status Put(T value) {
    buffer_.append(reinterpret_cast<const char*>(&value), sizeof(T));
    return buffer_.size() < kPieceBytes ? absl::OkStatus() : Flush();
  }
  absl::Status Flush();
  // Flush, fsync and close.
  absl::Status Finish();

  // Of what is flushed.
  int64_t num_bytes() const { return num_bytes_; }
  uint64_t digest() const { return digest_.Value(); }

 private:
  static constexpr size_t kPieceBytes = size_t{1} << 20;

  std::unique_ptr<WritableFile> file_;
  std::string buffer_;
  int64_t num_bytes_ = 0;
  StreamingDigest digest_;
};

// Writes a .bin/.idx pair (see indexed_dataset.h), one sequence a document, and
// its digest (see tokens_digest.h), made on the way.
//
// Both files grow under names that end in ".tmp". Finish
//   1. syncs and closes both,
//   2. removes an old PREFIX.idx and PREFIX.digest,
//   3. renames .bin, then .idx, and syncs the directory,
//   4. writes PREFIX.digest, which says of which files it is,
// so that at every moment an index that is there describes the .bin beside it.
// Destroyed without Finish, it leaves the old pair and no temporary file.
class IndexedDatasetWriter {
 public:
  // `type` is kUint16 or kInt32.
  static absl::StatusOr<std::unique_ptr<IndexedDatasetWriter>> Create(
      FileSystem& files, const std::string& prefix, TokenType type);
  IndexedDatasetWriter(const IndexedDatasetWriter&) = delete;
  IndexedDatasetWriter& operator=(const IndexedDatasetWriter&) = delete;

  // The ids must fit the type.
  absl::Status AddDocument(absl::Span<const int32_t> ids);
  absl::Status Finish();

  int64_t num_documents() const {
    return static_cast<int64_t>(lengths_.size());
  }
  int64_t num_tokens() const { return num_tokens_; }

 private:
  // The names of both files until Publish.
  struct Temporaries {
    Temporaries(FileSystem& files, const std::string& prefix);
    TemporaryPath bin;
    TemporaryPath idx;
  };

  IndexedDatasetWriter(FileSystem& files, const std::string& prefix,
                       TokenType type, std::unique_ptr<Temporaries> temporaries,
                       std::unique_ptr<WritableFile> bin,
                       std::unique_ptr<WritableFile> idx);
  absl::Status WriteIndex();
  absl::StatusOr<uint64_t> BinDigest() const;
  absl::Status Publish();
  absl::Status StoreDigest(uint64_t bin) const;

  FileSystem& files_;
  std::string prefix_;
  TokenType type_;
  std::unique_ptr<Temporaries> temporaries_;
  BufferedWriter bin_;
  BufferedWriter idx_;
  std::vector<int32_t> lengths_;
  int64_t num_tokens_ = 0;
};

}  // namespace moe

#endif  // DATA_INDEXED_DATASET_WRITER_H_
