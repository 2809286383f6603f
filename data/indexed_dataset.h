#ifndef DATA_INDEXED_DATASET_H_
#define DATA_INDEXED_DATASET_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "data/storage/file_system.h"
#include "data/token_type.h"

namespace moe {

// Megatron-LM's indexed dataset, mapped: PREFIX.bin holds the tokens of all
// sequences, one after another; PREFIX.idx says where sequences and documents
// begin (megatron/core/datasets/indexed_dataset.py). Little-endian:
//
//   0          9 bytes  "MMIDIDX\0\0"
//   9          u64      version, 1
//   17         u8       type of the tokens (TokenType)
//   18         u64      S, number of sequences
//   26         u64      D, number of documents + 1
//   34         i32[S]   tokens in each sequence
//   34+4S      i64[S]   byte of .bin where each sequence begins
//   34+12S     i64[D]   0, then the number of sequences up to each document's
//                       end
//   34+12S+8D  i8[S]    modes of multimodal sequences; optional, not used here
//
// Nothing above is aligned. Because sequences follow one another without gaps,
// the sequences' begins serve as the prefix sums of their lengths, and no
// table is made in memory. Immutable: any number of threads may read.
class IndexedDataset {
 public:
  // Checks all of .idx. NotFound: either file is missing. DataLoss: the index
  // is damaged or belongs to another .bin. FailedPrecondition: tokens of a
  // type that we do not read.
  static absl::StatusOr<std::unique_ptr<IndexedDataset>> Open(
      FileSystem& files, const std::string& prefix);

  const std::string& prefix() const { return prefix_; }
  TokenType token_type() const { return token_type_; }
  int64_t num_sequences() const { return num_sequences_; }
  int64_t num_documents() const { return num_documents_; }
  int64_t num_tokens() const { return num_tokens_; }

  // The token at which a document begins, in the stream of all tokens;
  // num_tokens() for num_documents().
  int64_t DocumentBegin(int64_t document) const;
  // The document that holds a token.
  int64_t DocumentOf(int64_t token) const;
  // Tokens [first, first + out.size()). FailedPrecondition: an id that is not
  // in [0, vocab_size), with its place.
  absl::Status Read(int64_t first, int vocab_size,
                    absl::Span<int32_t> out) const;

 private:
  IndexedDataset() = default;
  absl::Status ParseHeader();
  absl::Status CheckSequences() const;
  absl::Status CheckDocuments() const;
  int64_t SequenceBegin(int64_t sequence) const;
  int64_t DocumentIndex(int64_t entry) const;
  int64_t TokenAt(int64_t token) const;

  std::string prefix_;
  std::unique_ptr<MappedFile> idx_file_;
  std::unique_ptr<MappedFile> bin_file_;
  absl::string_view idx_;
  absl::string_view bin_;
  TokenType token_type_ = TokenType::kInt32;
  int64_t num_sequences_ = 0;
  int64_t num_documents_ = 0;
  int64_t num_tokens_ = 0;
};

// "P" of "P", "P.bin" or "P.idx".
std::string IndexedDatasetPrefix(absl::string_view path);

}  // namespace moe

#endif  // DATA_INDEXED_DATASET_H_
