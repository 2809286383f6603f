#include "data/text/text_reader.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "comm/base/counted.h"
#include "comm/base/status_macros.h"
#include "data/storage/json_document.h"
#include "data/text/utf8.h"

namespace moe {
namespace {

constexpr size_t kCutBytes = size_t{64} << 10;
// A text without line ends is cut here, so that no file is one document.
constexpr size_t kLongestCutBytes = size_t{1} << 20;
constexpr size_t kMaxDocumentBytes = size_t{1} << 30;
constexpr size_t kMaxLineBytes = size_t{16} << 20;
// Bytes looked at to tell text from other files, and the share of them that
// may be ill-formed (text of an old 8-bit encoding has fewer).
constexpr size_t kProbeBytes = size_t{64} << 10;
constexpr size_t kProbeIllFormedShare = 4;  // one in four
constexpr absl::string_view kByteOrderMark = "\xEF\xBB\xBF";
constexpr absl::string_view kWhiteSpace = " \t\r\n\v\f";

// Backs off from `size` to the beginning of a character.
size_t AtCharacter(absl::string_view text, size_t size) {
  for (size_t back = 0; back < 4 && back < size; ++back) {
    if ((text[size - back] & 0xC0) != 0x80) return size - back;
  }
  return size;
}

// What both kinds have in common: a mapped file and a place in it.
class MappedReader : public TextReader {
 public:
  MappedReader(std::string path, std::unique_ptr<MappedFile> file)
      : path_(std::move(path)), file_(std::move(file)) {
    if (absl::StartsWith(bytes(), kByteOrderMark)) {
      offset_ = kByteOrderMark.size();
    }
  }

  int64_t bytes_read() const override { return static_cast<int64_t>(offset_); }
  int64_t total_bytes() const override {
    return static_cast<int64_t>(bytes().size());
  }

 protected:
  const std::string& path() const { return path_; }
  absl::string_view bytes() const { return file_->bytes(); }
  absl::string_view rest() const { return bytes().substr(offset_); }

  // The next `size` bytes; `skip` more are passed over.
  DocumentPlace Take(size_t size, size_t skip) {
    DocumentPlace place;
    place.raw = rest().substr(0, size);
    place.offset = static_cast<int64_t>(offset_);
    offset_ += size + skip;
    return place;
  }

 private:
  std::string path_;
  std::unique_ptr<MappedFile> file_;
  size_t offset_ = 0;
};

class PlainReader final : public MappedReader {
 public:
  PlainReader(std::string path, std::unique_ptr<MappedFile> file)
      : MappedReader(std::move(path), std::move(file)),
        has_form_feeds_(bytes().find('\f') != absl::string_view::npos) {}

  std::optional<DocumentPlace> Next() override {
    while (!rest().empty()) {
      const size_t size = has_form_feeds_ ? ToFormFeed() : ToCut();
      const DocumentPlace place =
          Take(size, size < rest().size() && has_form_feeds_);
      if (place.raw.find_first_not_of(kWhiteSpace) != absl::string_view::npos)
        return place;
    }
    return std::nullopt;
  }

  absl::StatusOr<absl::string_view> Text(const DocumentPlace& place,
                                         std::string&) const override {
    const size_t zero = place.raw.find('\0');
    if (zero != absl::string_view::npos) {
      return absl::DataLossError(
          absl::StrCat(path(), " is not text: byte 0x00 at offset ",
                       place.offset + static_cast<int64_t>(zero)));
    }
    if (place.raw.size() > kMaxDocumentBytes) {
      return absl::FailedPreconditionError(
          absl::StrCat(path(), ": the document at offset ", place.offset,
                       " has ", place.raw.size(), " bytes, must be at most ",
                       kMaxDocumentBytes, "; a form feed ends a document"));
    }
    return place.raw;
  }

 private:
  size_t ToFormFeed() const {
    return std::min(rest().find('\f'), rest().size());
  }

  size_t ToCut() const {
    const absl::string_view text = rest().substr(0, kLongestCutBytes);
    if (rest().size() <= kCutBytes) return rest().size();
    const size_t line_end = text.find('\n', kCutBytes - 1);
    if (line_end != absl::string_view::npos) return line_end + 1;
    if (text.size() == rest().size()) return text.size();
    return AtCharacter(rest(), text.size());
  }

  bool has_form_feeds_;
};

class JsonLinesReader final : public MappedReader {
 public:
  using MappedReader::MappedReader;

  std::optional<DocumentPlace> Next() override {
    while (!rest().empty()) {
      const size_t size = std::min(rest().find('\n'), rest().size());
      DocumentPlace place = Take(size, size < rest().size());
      place.line = ++line_;
      if (place.raw.find_first_not_of(kWhiteSpace) != absl::string_view::npos)
        return place;
    }
    return std::nullopt;
  }

  absl::StatusOr<absl::string_view> Text(const DocumentPlace& place,
                                         std::string& storage) const override {
    if (place.raw.size() > kMaxLineBytes) {
      return absl::DataLossError(absl::StrCat(
          path(), ":", place.line, ": the line has ", place.raw.size(),
          " bytes, must be at most ", kMaxLineBytes));
    }
    const absl::Status status = ReadJsonText(place.raw, storage);
    if (!status.ok()) {
      return Annotate(status, absl::StrCat(path(), ":", place.line));
    }
    return absl::string_view(storage);
  }

 private:
  int64_t line_ = 0;
};

absl::Status CheckLooksLikeText(const std::string& path,
                                absl::string_view bytes) {
  if (bytes.empty()) {
    return absl::FailedPreconditionError(absl::StrCat(path, " is empty"));
  }
  const absl::string_view probe = bytes.substr(0, kProbeBytes);
  const size_t zero = probe.find('\0');
  if (zero != absl::string_view::npos) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " is not text: byte 0x00 at offset ", zero));
  }
  const IllFormedBytes ill_formed = FindIllFormedBytes(probe);
  const auto most = static_cast<int64_t>(probe.size() / kProbeIllFormedShare);
  if (ill_formed.count > most) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "%s is not text: %d of its first %d bytes are not UTF-8, the first, "
        "0x%02X, at offset %d",
        path, ill_formed.count, probe.size(),
        static_cast<unsigned char>(
            bytes[static_cast<size_t>(ill_formed.first)]),
        ill_formed.first));
  }
  absl::string_view text = bytes;
  if (absl::StartsWith(text, kByteOrderMark)) {
    text.remove_prefix(kByteOrderMark.size());
  }
  if (text.find_first_not_of(kWhiteSpace) == absl::string_view::npos) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " holds nothing but white space"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<MappedFile>> MapText(FileSystem& files,
                                                    const std::string& path) {
  if (!IsTextFileName(path)) {
    return absl::FailedPreconditionError(
        absl::StrCat(path,
                     ": the name of a text file must end in .txt or "
                     ".jsonl"));
  }
  ASSIGN_OR_RETURN(std::unique_ptr<MappedFile> file, files.Map(path));
  RETURN_IF_ERROR(CheckLooksLikeText(path, file->bytes()));
  return file;
}

}  // namespace

std::string IllFormedWarning(const IllFormedText& text) {
  return absl::StrCat(
      "warning: ", text.path,
      " is not all UTF-8: ", Counted(text.num_bytes, "byte"),
      text.num_bytes == 1 ? " is" : " are", " read as U+FFFD, ",
      text.num_bytes == 1 ? "" : "the first ", "at offset ", text.first_offset,
      "; text of another encoding must be converted, as by iconv -f latin1 -t "
      "utf-8");
}

bool IsTextFileName(absl::string_view path) {
  return absl::EndsWith(path, ".txt") || absl::EndsWith(path, ".jsonl");
}

absl::Status CheckTextFile(FileSystem& files, const std::string& path) {
  return MapText(files, path).status();
}

absl::StatusOr<std::unique_ptr<TextReader>> TextReader::Open(
    FileSystem& files, const std::string& path) {
  ASSIGN_OR_RETURN(std::unique_ptr<MappedFile> file, MapText(files, path));
  if (absl::EndsWith(path, ".txt")) {
    return std::make_unique<PlainReader>(path, std::move(file));
  }
  return std::make_unique<JsonLinesReader>(path, std::move(file));
}

}  // namespace moe
