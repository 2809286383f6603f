#ifndef DATA_TOKEN_STREAM_H_
#define DATA_TOKEN_STREAM_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "data/indexed_dataset.h"

namespace moe {

// The tokens of a range of a dataset's documents as one stream, each document
// with <s> before it if asked. The <s> are nowhere stored: where a document
// begins in the stream is its begin in the file plus the number of documents
// before it. A view; the dataset must outlive it.
class TokenStream {
 public:
  // Documents [first_document, end_document); bos_id is -1 for no <s>.
  TokenStream(const IndexedDataset& dataset, int64_t first_document,
              int64_t end_document, int bos_id, int vocab_size);

  // Tokens [first, first + count) of this stream as a stream of its own.
  TokenStream Slice(int64_t first, int64_t count) const;

  int64_t size() const { return size_; }
  // Tokens [first, first + out.size()); errors of IndexedDataset::Read.
  absl::Status Read(int64_t first, absl::Span<int32_t> out) const;

  // Of the same tokens, how many of their document's stand before them; of a
  // document that began before `first`, how many from there on.
  void Positions(int64_t first, absl::Span<int32_t> out) const;
  // How many of its document's tokens stand before token `index` in the stream
  // of all the documents.
  int64_t PositionOf(int64_t index) const;
  // Whether token `index` is its document's first.
  bool BeginsDocument(int64_t index) const { return PositionOf(index) == 0; }

 private:
  int64_t BeginOf(int64_t document) const;
  int64_t DocumentOf(int64_t place) const;
  absl::Status ReadWithBos(int64_t place, absl::Span<int32_t> out) const;

  const IndexedDataset* dataset_;
  int64_t first_document_;
  int64_t end_document_;
  int bos_id_;
  int vocab_size_;
  int64_t begin_ = 0;  // of the slice, in the stream of all the documents
  int64_t size_;
};

}  // namespace moe

#endif  // DATA_TOKEN_STREAM_H_
