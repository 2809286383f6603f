// Text to train on: the same bytes as .jsonl and as .txt.

#include <string>

#include "comm/base/check.h"
#include "comm/base/status_macros.h"
#include "data/text/text_reader.h"
#include "data/text/utf8.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/memory_files.h"

namespace moe {
namespace {

// All documents of a file: in order, apart, inside it. The first error of one.
absl::Status ReadDocuments(MemoryFiles& files, const std::string& path,
                           bool is_json) {
  ASSIGN_OR_RETURN(const auto reader, TextReader::Open(files, path));
  absl::Status first;
  int64_t end = 0;
  while (const std::optional<DocumentPlace> place = reader->Next()) {
    CHECK(place->offset >= end && !place->raw.empty());
    end = place->offset + static_cast<int64_t>(place->raw.size());
    CHECK(end <= reader->bytes_read());
    CHECK(reader->bytes_read() <= reader->total_bytes());
    std::string storage;
    const auto text = reader->Text(*place, storage);
    if (!text.ok()) {
      first.Update(text.status());
    } else if (is_json) {
      CHECK(ValidUtf8Prefix(*text) == text->size());
    } else {
      CHECK(*text == place->raw);
    }
  }
  CHECK(!reader->Next().has_value());
  return first;
}

}  // namespace

absl::Status ReadHostile(absl::string_view bytes) {
  MemoryFiles files;
  files.Add("a.jsonl", bytes);
  files.Add("a.txt", bytes);
  ReadDocuments(files, "a.txt", /*is_json=*/false).IgnoreError();
  return ReadDocuments(files, "a.jsonl", /*is_json=*/true);
}

}  // namespace moe

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  moe::ReadHostile({reinterpret_cast<const char*>(data), size}).IgnoreError();
  return 0;
}
