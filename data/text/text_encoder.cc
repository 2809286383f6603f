#include "data/text/text_encoder.h"

#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "comm/base/quiet_thread.h"

namespace moe {
namespace {

// Of a document that begins at `offset` of its file.
void AddIllFormed(absl::string_view document, int64_t offset,
                  IllFormedBytes& all) {
  const IllFormedBytes found = FindIllFormedBytes(document);
  if (found.count == 0) return;
  if (all.count == 0) all.first = offset + found.first;
  all.count += found.count;
}

}  // namespace

absl::StatusOr<std::unique_ptr<TextEncoder>> TextEncoder::Create(
    const Tokenizer& tokenizer, int threads) {
  std::unique_ptr<TextEncoder> encoder(new TextEncoder(tokenizer));
  for (int i = 0; i < threads; ++i) {
    absl::StatusOr<std::thread> thread =
        StartQuietThread("encoder", [raw = encoder.get()] { raw->Run(); });
    if (!thread.ok() && i == 0) return thread.status();
    if (!thread.ok()) break;
    encoder->threads_.push_back(*std::move(thread));
  }
  return encoder;
}

TextEncoder::~TextEncoder() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void TextEncoder::Submit(EncodingBatch* batch) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    batch->done = false;
    waiting_.push_back(batch);
  }
  changed_.notify_all();
}

void TextEncoder::Wait(EncodingBatch* batch) {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [batch] { return batch->done; });
}

void TextEncoder::Run() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
    if (stopping_) return;
    EncodingBatch* batch = waiting_.front();
    waiting_.pop_front();
    lock.unlock();
    Encode(*batch);
    lock.lock();
    batch->done = true;
    changed_.notify_all();
  }
}

void TextEncoder::Encode(EncodingBatch& batch) const {
  batch.ids.clear();
  batch.ends.clear();
  batch.text_bytes = 0;
  batch.ill_formed = {};
  batch.status = absl::OkStatus();
  std::string storage;
  for (const DocumentPlace& place : batch.places) {
    absl::StatusOr<absl::string_view> text = batch.reader->Text(place, storage);
    if (!text.ok()) {
      batch.status = text.status();
      return;
    }
    if (text->empty()) continue;
    // The reader refuses JSON that is not UTF-8.
    if (place.line == 0) AddIllFormed(*text, place.offset, batch.ill_formed);
    tokenizer_.Encode(*text, batch.ids);
    batch.ids.push_back(tokenizer_.eos_id());
    batch.ends.push_back(batch.ids.size());
    batch.text_bytes += static_cast<int64_t>(text->size());
  }
}

}  // namespace moe
