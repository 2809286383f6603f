#include "data/indexed_dataset_writer.h"

#include <bit>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "comm/base/check.h"
#include "comm/base/status_macros.h"
#include "data/tokens_digest.h"

namespace moe {

static_assert(std::endian::native == std::endian::little,
              "token files are little-endian and are read where they lie");

absl::Status BufferedWriter::Flush() {
  const absl::Status status = file_->Append(buffer_);
  num_bytes_ += static_cast<int64_t>(buffer_.size());
  digest_.Add(buffer_);
  buffer_.clear();
  return status;
}

absl::Status BufferedWriter::Finish() {
  RETURN_IF_ERROR(Flush());
  RETURN_IF_ERROR(file_->Sync());
  return file_->Close();
}

IndexedDatasetWriter::Temporaries::Temporaries(FileSystem& files,
                                               const std::string& prefix)
    : bin(files, absl::StrCat(prefix, ".bin.tmp")),
      idx(files, absl::StrCat(prefix, ".idx.tmp")) {}

absl::StatusOr<std::unique_ptr<IndexedDatasetWriter>>
IndexedDatasetWriter::Create(FileSystem& files, const std::string& prefix,
                             TokenType type) {
  CHECK(type == TokenType::kUint16 || type == TokenType::kInt32);
  auto temporaries = std::make_unique<Temporaries>(files, prefix);
  ASSIGN_OR_RETURN(auto bin, files.Create(temporaries->bin.path()));
  ASSIGN_OR_RETURN(auto idx, files.Create(temporaries->idx.path()));
  return std::unique_ptr<IndexedDatasetWriter>(
      new IndexedDatasetWriter(files, prefix, type, std::move(temporaries),
                               std::move(bin), std::move(idx)));
}

IndexedDatasetWriter::IndexedDatasetWriter(
    FileSystem& files, const std::string& prefix, TokenType type,
    std::unique_ptr<Temporaries> temporaries, std::unique_ptr<WritableFile> bin,
    std::unique_ptr<WritableFile> idx)
    : files_(files),
      prefix_(prefix),
      type_(type),
      temporaries_(std::move(temporaries)),
      bin_(std::move(bin)),
      idx_(std::move(idx)) {}

absl::Status IndexedDatasetWriter::AddDocument(absl::Span<const int32_t> ids) {
  constexpr size_t kMost = std::numeric_limits<int32_t>::max();
  if (ids.size() > kMost) {
    return absl::FailedPreconditionError(
        absl::StrCat("document ", num_documents(), " has ", ids.size(),
                     " tokens, a .idx file holds at most ", kMost));
  }
  for (const int32_t id : ids) {
    if (type_ == TokenType::kInt32) {
      RETURN_IF_ERROR(bin_.Put(id));
    } else {
      CHECK(id >= 0 && id <= std::numeric_limits<uint16_t>::max());
      RETURN_IF_ERROR(bin_.Put(static_cast<uint16_t>(id)));
    }
  }
  lengths_.push_back(static_cast<int32_t>(ids.size()));
  num_tokens_ += static_cast<int64_t>(ids.size());
  return absl::OkStatus();
}

absl::Status IndexedDatasetWriter::Finish() {
  RETURN_IF_ERROR(bin_.Finish());
  RETURN_IF_ERROR(WriteIndex());
  RETURN_IF_ERROR(idx_.Finish());
  ASSIGN_OR_RETURN(const uint64_t bin, BinDigest());
  RETURN_IF_ERROR(Publish());
  return StoreDigest(bin);
}

// Which blocks of a large .bin count depends on its size: they are read again.
absl::StatusOr<uint64_t> IndexedDatasetWriter::BinDigest() const {
  if (bin_.num_bytes() <= kWholeDigestBytes) return bin_.digest();
  ASSIGN_OR_RETURN(const std::unique_ptr<MappedFile> bin,
                   files_.Map(temporaries_->bin.path()));
  return DigestOfBin(bin->bytes());
}

absl::Status IndexedDatasetWriter::WriteIndex() {
  for (const char letter : {'M', 'M', 'I', 'D', 'I', 'D', 'X', '\0', '\0'}) {
    RETURN_IF_ERROR(idx_.Put(letter));
  }
  RETURN_IF_ERROR(idx_.Put(uint64_t{1}));
  RETURN_IF_ERROR(idx_.Put(static_cast<uint8_t>(type_)));
  RETURN_IF_ERROR(idx_.Put(static_cast<uint64_t>(lengths_.size())));
  RETURN_IF_ERROR(idx_.Put(static_cast<uint64_t>(lengths_.size() + 1)));
  for (const int32_t length : lengths_) RETURN_IF_ERROR(idx_.Put(length));
  int64_t begin = 0;
  for (const int32_t length : lengths_) {
    RETURN_IF_ERROR(idx_.Put(begin));
    begin += length * TokenBytes(type_);
  }
  for (int64_t i = 0; i <= num_documents(); ++i) {
    RETURN_IF_ERROR(idx_.Put(i));
  }
  return absl::OkStatus();
}

absl::Status IndexedDatasetWriter::Publish() {
  const std::string bin = absl::StrCat(prefix_, ".bin");
  const std::string idx = absl::StrCat(prefix_, ".idx");
  {
    // A signal comes before all of it or after.
    const RemovalAtEnd::Lock held = RemovalAtEnd::Hold();
    RETURN_IF_ERROR(files_.Remove(idx));
    RETURN_IF_ERROR(files_.Remove(DigestPath(prefix_)));
    RETURN_IF_ERROR(temporaries_->bin.RenameTo(bin));
    RETURN_IF_ERROR(temporaries_->idx.RenameTo(idx));
  }
  return files_.SyncDirectory(ParentOf(prefix_));
}

absl::Status IndexedDatasetWriter::StoreDigest(uint64_t bin) const {
  ASSIGN_OR_RETURN(const PairIdentity pair, IdentifyPair(files_, prefix_));
  return StoreTokensDigest(
      files_, DigestPath(prefix_), pair,
      CombineDigests(idx_.num_bytes(), idx_.digest(), bin_.num_bytes(), bin));
}

}  // namespace moe
