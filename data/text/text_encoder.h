#ifndef DATA_TEXT_TEXT_ENCODER_H_
#define DATA_TEXT_TEXT_ENCODER_H_

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "data/text/text_reader.h"
#include "data/text/tokenizer.h"
#include "data/text/utf8.h"

namespace moe {

// Some documents of one file, in and out.
struct EncodingBatch {
  const TextReader* reader = nullptr;
  std::vector<DocumentPlace> places;

  std::vector<int32_t> ids;  // of all its documents, each ended by </s>
  std::vector<size_t> ends;  // of each document in ids; none for empty text
  int64_t text_bytes = 0;
  IllFormedBytes ill_formed;  // of a .txt; the first as an offset in the file
  absl::Status status;        // of the first document that failed

  bool done = false;  // guarded by the encoder
};

// Threads that turn batches into tokens, in any order among themselves.
class TextEncoder {
 public:
  // With fewer threads where the system allows no more. ResourceExhausted: it
  // allows none.
  static absl::StatusOr<std::unique_ptr<TextEncoder>> Create(
      const Tokenizer& tokenizer, int threads);
  // Waits for batches at work; those not begun are dropped.
  ~TextEncoder();
  TextEncoder(const TextEncoder&) = delete;
  TextEncoder& operator=(const TextEncoder&) = delete;

  // The batch belongs to the encoder until Wait has returned.
  void Submit(EncodingBatch* batch);
  void Wait(EncodingBatch* batch);

 private:
  explicit TextEncoder(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}
  void Run();
  void Encode(EncodingBatch& batch) const;

  const Tokenizer& tokenizer_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<EncodingBatch*> waiting_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace moe

#endif  // DATA_TEXT_TEXT_ENCODER_H_
