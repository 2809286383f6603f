#include "data/token_stream.h"

#include <algorithm>
#include <numeric>

#include "comm/base/check.h"
#include "comm/base/status_macros.h"

namespace moe {

TokenStream::TokenStream(const IndexedDataset& dataset, int64_t first_document,
                         int64_t end_document, int bos_id, int vocab_size)
    : dataset_(&dataset),
      first_document_(first_document),
      end_document_(end_document),
      bos_id_(bos_id),
      vocab_size_(vocab_size) {
  CHECK(0 <= first_document && first_document <= end_document &&
        end_document <= dataset.num_documents());
  size_ = BeginOf(end_document);
}

TokenStream TokenStream::Slice(int64_t first, int64_t count) const {
  CHECK(first >= 0 && count >= 0 && count <= size_ - first);
  TokenStream slice = *this;
  slice.begin_ += first;
  slice.size_ = count;
  return slice;
}

// In the stream of all the documents.
int64_t TokenStream::BeginOf(int64_t document) const {
  const int64_t stored = dataset_->DocumentBegin(document) -
                         dataset_->DocumentBegin(first_document_);
  return bos_id_ < 0 ? stored : stored + document - first_document_;
}

// The document whose <s> or tokens stand at a place: the last one that begins
// at or before it, because empty documents share their begin with the next.
int64_t TokenStream::DocumentOf(int64_t place) const {
  int64_t low = first_document_;
  int64_t high = end_document_;
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    (BeginOf(middle) <= place ? low : high) = middle;
  }
  return low;
}

absl::Status TokenStream::Read(int64_t first, absl::Span<int32_t> out) const {
  CHECK(first >= 0 && static_cast<int64_t>(out.size()) <= size_ - first);
  const int64_t place = begin_ + first;
  if (bos_id_ >= 0) return ReadWithBos(place, out);
  return dataset_->Read(dataset_->DocumentBegin(first_document_) + place,
                        vocab_size_, out);
}

void TokenStream::Positions(int64_t first, absl::Span<int32_t> out) const {
  CHECK(first >= 0 && static_cast<int64_t>(out.size()) <= size_ - first);
  int64_t place = begin_ + first;
  int64_t document = out.empty() ? 0 : DocumentOf(place);
  while (!out.empty()) {
    const int64_t count =
        std::min(BeginOf(++document) - place, static_cast<int64_t>(out.size()));
    std::iota(out.begin(), out.begin() + count, 0);
    out.remove_prefix(static_cast<size_t>(count));
    place += count;
  }
}

int64_t TokenStream::PositionOf(int64_t index) const {
  CHECK(index >= 0 && index < size_);
  const int64_t place = begin_ + index;
  return place - BeginOf(DocumentOf(place));
}

absl::Status TokenStream::ReadWithBos(int64_t place,
                                      absl::Span<int32_t> out) const {
  for (int64_t document = out.empty() ? 0 : DocumentOf(place); !out.empty();
       ++document) {
    const int64_t begin = BeginOf(document);
    if (place == begin) {
      out.front() = bos_id_;
      out.remove_prefix(1);
      ++place;
    }
    const int64_t count = std::min(BeginOf(document + 1) - place,
                                   static_cast<int64_t>(out.size()));
    RETURN_IF_ERROR(
        dataset_->Read(dataset_->DocumentBegin(document) + place - begin - 1,
                       vocab_size_, out.first(static_cast<size_t>(count))));
    out.remove_prefix(static_cast<size_t>(count));
    place += count;
  }
  return absl::OkStatus();
}

}  // namespace moe
