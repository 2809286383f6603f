#include "data/tokenize.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "comm/base/status_macros.h"
#include "data/indexed_dataset_writer.h"
#include "data/text/text_encoder.h"
#include "data/text/text_reader.h"

namespace moe {
namespace {

// Small enough that threads end together, large enough to hide the locks.
constexpr size_t kBatchBytes = size_t{256} << 10;

struct Slot {
  EncodingBatch batch;
  size_t input = 0;        // which of the inputs its documents are of
  int64_t bytes_read = 0;  // of all inputs, behind the batch's last document
};

// Cuts all inputs, one after another, into batches.
class BatchCutter {
 public:
  static absl::StatusOr<BatchCutter> Open(
      FileSystem& files, const std::vector<std::string>& inputs) {
    BatchCutter cutter;
    for (const std::string& input : inputs) {
      ASSIGN_OR_RETURN(auto reader, TextReader::Open(files, input));
      cutter.total_bytes_ += reader->total_bytes();
      cutter.readers_.push_back(std::move(reader));
    }
    return cutter;
  }

  // False at the end of the last input.
  bool Next(Slot& slot) {
    slot.batch.places.clear();
    for (; current_ < readers_.size(); ++current_) {
      TextReader& reader = *readers_[current_];
      size_t bytes = 0;
      while (bytes < kBatchBytes) {
        const std::optional<DocumentPlace> place = reader.Next();
        if (!place.has_value()) break;
        bytes += place->raw.size();
        slot.batch.places.push_back(*place);
      }
      if (!slot.batch.places.empty()) {
        slot.batch.reader = &reader;
        slot.input = current_;
        slot.bytes_read = bytes_before_ + reader.bytes_read();
        return true;
      }
      bytes_before_ += reader.total_bytes();
    }
    return false;
  }

  int64_t total_bytes() const { return total_bytes_; }

 private:
  BatchCutter() = default;

  std::vector<std::unique_ptr<TextReader>> readers_;
  size_t current_ = 0;
  int64_t bytes_before_ = 0;  // of the inputs before the current one
  int64_t total_bytes_ = 0;
};

absl::Status WriteBatch(const EncodingBatch& batch,
                        IndexedDatasetWriter& writer) {
  RETURN_IF_ERROR(batch.status);
  size_t begin = 0;
  for (const size_t end : batch.ends) {
    RETURN_IF_ERROR(writer.AddDocument(
        absl::MakeConstSpan(batch.ids).subspan(begin, end - begin)));
    begin = end;
  }
  return absl::OkStatus();
}

void AddBatch(const EncodingBatch& batch, const std::string& input,
              TokenizeResult& result) {
  result.text_bytes += batch.text_bytes;
  if (batch.ill_formed.count == 0) return;
  std::vector<IllFormedText>& all = result.ill_formed;
  if (all.empty() || all.back().path != input) {
    all.push_back({.path = input,
                   .num_bytes = 0,
                   .first_offset = batch.ill_formed.first});
  }
  all.back().num_bytes += batch.ill_formed.count;
}

// A ring of slots: this thread fills them and writes them in the order it
// filled them, the encoder's threads work on those between. What the result
// says of the text; the writer has counted the rest.
absl::StatusOr<TokenizeResult> EncodeAll(
    const TokenizeOptions& options, BatchCutter& cutter,
    IndexedDatasetWriter& writer,
    const std::function<void(int64_t, int64_t)>& progress) {
  const int threads = std::max(1, options.threads);
  std::vector<Slot> ring(static_cast<size_t>(2 * threads + 2));
  ASSIGN_OR_RETURN(const std::unique_ptr<TextEncoder> encoder,
                   TextEncoder::Create(*options.tokenizer, threads));
  TokenizeResult result;
  size_t filled = 0;
  for (size_t written = 0;; ++written) {
    while (filled - written < ring.size() &&
           cutter.Next(ring[filled % ring.size()])) {
      encoder->Submit(&ring[filled++ % ring.size()].batch);
    }
    if (written == filled) return result;
    Slot& slot = ring[written % ring.size()];
    encoder->Wait(&slot.batch);
    RETURN_IF_ERROR(WriteBatch(slot.batch, writer));
    AddBatch(slot.batch, options.inputs[slot.input], result);
    progress(slot.bytes_read, cutter.total_bytes());
  }
}

}  // namespace

absl::StatusOr<TokenizeResult> TokenizeFiles(
    FileSystem& files, const TokenizeOptions& options,
    const std::function<void(int64_t done, int64_t total)>& progress) {
  if (options.tokenizer->eos_id() < 0) {
    return absl::FailedPreconditionError(
        "the tokenizer has no </s>, which must end each document");
  }
  ASSIGN_OR_RETURN(BatchCutter cutter,
                   BatchCutter::Open(files, options.inputs));
  ASSIGN_OR_RETURN(auto writer,
                   IndexedDatasetWriter::Create(
                       files, options.output_prefix,
                       TokenTypeFor(options.tokenizer->vocab_size())));
  ASSIGN_OR_RETURN(TokenizeResult result,
                   EncodeAll(options, cutter, *writer, progress));
  if (writer->num_documents() == 0) {
    return absl::FailedPreconditionError(absl::StrCat(
        "no document has any text in ", absl::StrJoin(options.inputs, ", ")));
  }
  RETURN_IF_ERROR(writer->Finish());
  result.documents = writer->num_documents();
  result.tokens = writer->num_tokens();
  return result;
}

}  // namespace moe
