#include "data/text/sentence_writer.h"

#include <algorithm>

#include "absl/strings/strip.h"
#include "comm/base/status_macros.h"

namespace moe {
namespace {

constexpr size_t kBufferBytes = size_t{1} << 20;
constexpr absl::string_view kReserved = "\xE2\x96\x85";  // U+2585

// Where to divide a line that is too long: before its last space that fits,
// or else before a character.
size_t CutOf(absl::string_view line) {
  if (line.size() <= SentenceWriter::kMaxLineBytes) return line.size();
  const size_t space = line.rfind(' ', SentenceWriter::kMaxLineBytes);
  if (space != absl::string_view::npos && space > 0) return space;
  size_t cut = SentenceWriter::kMaxLineBytes;
  while (cut > SentenceWriter::kMaxLineBytes - 4 &&
         (line[cut] & 0xC0) == 0x80) {
    --cut;
  }
  return cut;
}

}  // namespace

absl::Status SentenceWriter::Add(absl::string_view document) {
  while (!document.empty()) {
    const size_t size = std::min(document.find('\n'), document.size());
    RETURN_IF_ERROR(AddLine(document.substr(0, size)));
    document.remove_prefix(std::min(size + 1, document.size()));
  }
  return absl::OkStatus();
}

absl::Status SentenceWriter::AddLine(absl::string_view line) {
  while (!line.empty()) {
    const size_t reserved = line.find(kReserved);
    const size_t size = CutOf(line.substr(0, reserved));
    if (size > 0) {
      buffer_.append(line.data(), size);
      buffer_.push_back('\n');
    }
    line.remove_prefix(size == reserved ? size + kReserved.size() : size);
    absl::ConsumePrefix(&line, " ");  // spm_train puts one before each line
    if (buffer_.size() >= kBufferBytes) RETURN_IF_ERROR(Flush());
  }
  return absl::OkStatus();
}

absl::Status SentenceWriter::Flush() {
  RETURN_IF_ERROR(file_->Append(buffer_));
  bytes_written_ += static_cast<int64_t>(buffer_.size());
  buffer_.clear();
  return absl::OkStatus();
}

absl::Status SentenceWriter::Close() {
  RETURN_IF_ERROR(Flush());
  return file_->Close();
}

}  // namespace moe
