#ifndef DATA_TEXT_SENTENCE_WRITER_H_
#define DATA_TEXT_SENTENCE_WRITER_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "data/storage/file_system.h"

namespace moe {

// Writes text as the lines that spm_train learns from. It passes over a line
// that is too long or holds U+2585, which it needs for itself; such lines are
// divided, so that no text is lost.
class SentenceWriter {
 public:
  // A line may be one word, in which spm_train numbers the characters, and the
  // space that it puts before them, with 15 bits: it crashes beyond.
  static constexpr size_t kMaxLineBytes = 32000;

  explicit SentenceWriter(std::unique_ptr<WritableFile> file)
      : file_(std::move(file)) {}

  absl::Status Add(absl::string_view document);
  absl::Status Close();
  int64_t bytes_written() const { return bytes_written_; }

 private:
  absl::Status AddLine(absl::string_view line);
  absl::Status Flush();

  std::unique_ptr<WritableFile> file_;
  std::string buffer_;
  int64_t bytes_written_ = 0;
};

}  // namespace moe

#endif  // DATA_TEXT_SENTENCE_WRITER_H_
