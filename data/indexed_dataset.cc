#include "data/indexed_dataset.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "comm/base/check.h"
#include "comm/base/status_macros.h"

namespace moe {
namespace {

constexpr absl::string_view kMagic("MMIDIDX\0\0", 9);
// Megatron would follow the pointers of an index into a part of another .bin.
// Here every token of the .bin is one of the index: the two are then known to
// belong together.
constexpr char kWholeFile[] = "; an index must say all of its .bin, in order";
constexpr int64_t kVersionAt = 9;
constexpr int64_t kTypeAt = 17;
constexpr int64_t kSequencesAt = 18;
constexpr int64_t kDocumentsAt = 26;
constexpr int64_t kArraysAt = 34;

// The arrays of an .idx and the tokens of a .bin may lie at any address.
template <typename T>
T Load(absl::string_view bytes, int64_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

absl::Status CheckType(uint8_t code) {
  if (code == 6 || code == 7) {
    return absl::FailedPreconditionError(
        absl::StrCat("token type is ", code,
                     " (floating point), must be one "
                     "of 1, 2, 3, 4, 5, 8 (integers)"));
  }
  if (code == 0 || code > 8) {
    return absl::DataLossError(
        absl::StrCat("token type is ", code, ", must be from 1 to 8"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<IndexedDataset>> IndexedDataset::Open(
    FileSystem& files, const std::string& prefix) {
  std::unique_ptr<IndexedDataset> dataset(new IndexedDataset);
  dataset->prefix_ = prefix;
  const std::string idx = absl::StrCat(prefix, ".idx");
  ASSIGN_OR_RETURN(dataset->idx_file_, files.Map(idx));
  ASSIGN_OR_RETURN(dataset->bin_file_, files.Map(absl::StrCat(prefix, ".bin")));
  dataset->idx_ = dataset->idx_file_->bytes();
  dataset->bin_ = dataset->bin_file_->bytes();
  RETURN_IF_ERROR(Annotate(dataset->ParseHeader(), idx));
  RETURN_IF_ERROR(Annotate(dataset->CheckSequences(), idx));
  RETURN_IF_ERROR(Annotate(dataset->CheckDocuments(), idx));
  return dataset;
}

absl::Status IndexedDataset::ParseHeader() {
  const int64_t size = static_cast<int64_t>(idx_.size());
  if (!absl::StartsWith(idx_, kMagic.substr(0, idx_.size())) || size == 0) {
    return absl::DataLossError(
        "does not begin with MMIDIDX: no Megatron index");
  }
  if (size < kArraysAt) {
    return absl::DataLossError(absl::StrCat(
        "has ", size, " bytes, its header alone needs ", kArraysAt));
  }
  const uint64_t version = Load<uint64_t>(idx_, kVersionAt);
  if (version != 1) {
    return absl::DataLossError(
        absl::StrCat("version is ", version, ", must be 1"));
  }
  const uint8_t code = Load<uint8_t>(idx_, kTypeAt);
  RETURN_IF_ERROR(CheckType(code));
  token_type_ = static_cast<TokenType>(code);

  // The first comparisons keep the sum below from overflowing.
  const uint64_t sequences = Load<uint64_t>(idx_, kSequencesAt);
  const uint64_t documents = Load<uint64_t>(idx_, kDocumentsAt);
  const uint64_t arrays = static_cast<uint64_t>(size - kArraysAt);
  const bool fits = sequences <= arrays / 12 && documents <= arrays / 8;
  const uint64_t needed = 12 * sequences + 8 * documents;
  if (!fits || (arrays != needed && arrays != needed + sequences)) {
    return absl::DataLossError(absl::StrCat(
        "has ", arrays,
        " bytes behind its header, which does not "
        "agree with its ",
        sequences, " sequences and ", documents, " document indices"));
  }
  if (documents == 0) {
    return absl::DataLossError("has 0 document indices, must have at least 1");
  }
  num_sequences_ = static_cast<int64_t>(sequences);
  num_documents_ = static_cast<int64_t>(documents) - 1;
  num_tokens_ = static_cast<int64_t>(bin_.size()) / TokenBytes(token_type_);
  return absl::OkStatus();
}

absl::Status IndexedDataset::CheckSequences() const {
  const int64_t bin_bytes = static_cast<int64_t>(bin_.size());
  int64_t end = 0;
  for (int64_t i = 0; i < num_sequences_; ++i) {
    const int32_t length = Load<int32_t>(idx_, kArraysAt + 4 * i);
    const int64_t begin = SequenceBegin(i);
    if (length < 0) {
      return absl::DataLossError(absl::StrCat("sequence ", i, " has ", length,
                                              " tokens, must be at least 0"));
    }
    if (begin != end) {
      return absl::DataLossError(absl::StrCat(
          "sequence ", i, " begins at byte ", begin, ", must be ", end,
          i == 0 ? "" : ", where the one before it ends", kWholeFile));
    }
    end += length * TokenBytes(token_type_);
    if (end > bin_bytes) {
      return absl::DataLossError(absl::StrCat("sequence ", i, " ends at byte ",
                                              end, ", past the ", bin_bytes,
                                              " bytes of ", prefix_, ".bin"));
    }
  }
  if (end == bin_bytes) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(
      "its sequences end at byte ", end, ", but ", prefix_, ".bin has ",
      bin_bytes, " bytes: not of one pair", kWholeFile));
}

absl::Status IndexedDataset::CheckDocuments() const {
  if (DocumentIndex(0) != 0) {
    return absl::DataLossError(
        absl::StrCat("document index 0 is ", DocumentIndex(0), ", must be 0"));
  }
  for (int64_t i = 1; i <= num_documents_; ++i) {
    if (DocumentIndex(i) < DocumentIndex(i - 1)) {
      return absl::DataLossError(absl::StrCat(
          "document index ", i, " is ", DocumentIndex(i), ", must be at least ",
          DocumentIndex(i - 1), ", the one before it"));
    }
  }
  if (DocumentIndex(num_documents_) == num_sequences_) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrCat("the last document index is ", DocumentIndex(num_documents_),
                   ", must be ", num_sequences_, ", the number of sequences"));
}

int64_t IndexedDataset::SequenceBegin(int64_t sequence) const {
  return Load<int64_t>(idx_, kArraysAt + 4 * num_sequences_ + 8 * sequence);
}

int64_t IndexedDataset::DocumentIndex(int64_t entry) const {
  return Load<int64_t>(idx_, kArraysAt + 12 * num_sequences_ + 8 * entry);
}

int64_t IndexedDataset::DocumentBegin(int64_t document) const {
  const int64_t sequence = DocumentIndex(document);
  if (sequence == num_sequences_) return num_tokens_;
  return SequenceBegin(sequence) / TokenBytes(token_type_);
}

// The last document that begins at or before the token: empty documents share
// their begin with the one that follows.
int64_t IndexedDataset::DocumentOf(int64_t token) const {
  int64_t low = 0;
  int64_t high = num_documents_;
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    (DocumentBegin(middle) <= token ? low : high) = middle;
  }
  return low;
}

int64_t IndexedDataset::TokenAt(int64_t token) const {
  return DispatchTokenType(token_type_, [&](auto zero) {
    using T = decltype(zero);
    return static_cast<int64_t>(
        Load<T>(bin_, token * static_cast<int64_t>(sizeof(T))));
  });
}

absl::Status IndexedDataset::Read(int64_t first, int vocab_size,
                                  absl::Span<int32_t> out) const {
  const int64_t count = static_cast<int64_t>(out.size());
  CHECK(first >= 0 && count <= num_tokens_ - first);
  // As unsigned numbers negative ids are large ones; one maximum tells all.
  const uint64_t worst = DispatchTokenType(token_type_, [&](auto zero) {
    using T = decltype(zero);
    uint64_t largest = 0;
    for (int64_t i = 0; i < count; ++i) {
      const T id = Load<T>(bin_, (first + i) * static_cast<int64_t>(sizeof(T)));
      largest = std::max(largest, static_cast<uint64_t>(id));
      out[static_cast<size_t>(i)] = static_cast<int32_t>(id);
    }
    return largest;
  });
  if (worst < static_cast<uint64_t>(vocab_size)) return absl::OkStatus();
  if (count == 0) return absl::OkStatus();
  int64_t bad = first;
  while (TokenAt(bad) >= 0 && TokenAt(bad) < vocab_size) ++bad;
  const int64_t document = DocumentOf(bad);
  return absl::FailedPreconditionError(absl::StrCat(
      prefix_, ".bin: token ", bad - DocumentBegin(document), " of document ",
      document, " is ", TokenAt(bad), ", must be at least 0 and less than ",
      "vocab_size (", vocab_size, ")"));
}

std::string IndexedDatasetPrefix(absl::string_view path) {
  if (!absl::ConsumeSuffix(&path, ".bin")) absl::ConsumeSuffix(&path, ".idx");
  return std::string(path);
}

}  // namespace moe
