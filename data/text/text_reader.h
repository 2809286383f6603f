#ifndef DATA_TEXT_TEXT_READER_H_
#define DATA_TEXT_TEXT_READER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/storage/file_system.h"

namespace moe {

// Where one document lies in its file. Cheap to find and to copy; valid as
// long as its reader.
struct DocumentPlace {
  absl::string_view raw;  // its bytes in the file: text, or a line of JSON
  int64_t offset = 0;     // of raw's first byte
  int64_t line = 0;       // from 1; of .jsonl only
};

// The documents of a text file, in file order:
//
//   .txt     A form feed ends a document. A file without any is cut behind the
//            first line end after each 64 KiB. Bytes are kept as they are,
//            CR LF too, and those that are no UTF-8, which tokenizers read as
//            U+FFFD; only a byte order mark at the file's start is not text.
//   .jsonl   One JSON object a line, the document is its string "text"; other
//            keys are ignored, blank lines passed over, 16 MiB a line at most.
//
// Next finds documents, one thread at a time; Text gives a found document's
// text and may be called by many threads at once:
//
//   while (std::optional<DocumentPlace> place = reader->Next()) {
//     std::string storage;
//     ASSIGN_OR_RETURN(absl::string_view text, reader->Text(*place, storage));
//     if (text.empty()) continue;  // {"text": ""} is no document
//     ...
//   }
class TextReader {
 public:
  // FailedPrecondition: a name that ends in neither .txt nor .jsonl, an empty
  // file, nothing but white space, or bytes that are no text.
  static absl::StatusOr<std::unique_ptr<TextReader>> Open(
      FileSystem& files, const std::string& path);
  virtual ~TextReader() = default;

  // The next document, nothing at the end of the file.
  virtual std::optional<DocumentPlace> Next() = 0;

  // The document's text; it lies in the file or in `storage` and is valid
  // until either goes. DataLoss names the file, the line or offset, and what
  // is wrong there: broken JSON, no "text", a NUL byte.
  virtual absl::StatusOr<absl::string_view> Text(
      const DocumentPlace& place, std::string& storage) const = 0;

  // Bytes of the file behind the last document that Next gave, and in all.
  virtual int64_t bytes_read() const = 0;
  virtual int64_t total_bytes() const = 0;
};

// What of a .txt is no UTF-8, found by who reads all of it.
struct IllFormedText {
  std::string path;
  int64_t num_bytes = 0;
  int64_t first_offset = 0;
};

// "warning: a.txt is not all UTF-8: 3 bytes are read as U+FFFD, the first at
// offset 17; ..."
std::string IllFormedWarning(const IllFormedText& text);

// Whether TextReader takes a file of this name.
bool IsTextFileName(absl::string_view path);

// What TextReader::Open would say of a file, by its beginning.
absl::Status CheckTextFile(FileSystem& files, const std::string& path);

}  // namespace moe

#endif  // DATA_TEXT_TEXT_READER_H_
