// Megatron's pair of files. The input is the length of .idx (u16,
// little-endian), .idx itself, and .bin.

#include <algorithm>
#include <limits>
#include <vector>

#include "comm/base/check.h"
#include "data/indexed_dataset.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/memory_files.h"

namespace moe {
namespace {

// Documents divide the tokens, and each of their tokens knows its document.
void CheckDocuments(const IndexedDataset& dataset) {
  const int64_t documents = dataset.num_documents();
  CHECK(dataset.DocumentBegin(documents) == dataset.num_tokens());
  int64_t end = 0;
  for (int64_t document = 0; document < documents; ++document) {
    const int64_t begin = dataset.DocumentBegin(document);
    CHECK(begin == end);
    end = dataset.DocumentBegin(document + 1);
    CHECK(end >= begin);
    if (end == begin) continue;
    CHECK(dataset.DocumentOf(begin) == document);
    CHECK(dataset.DocumentOf(end - 1) == document);
  }
  CHECK(end == dataset.num_tokens());
}

// Each token is an id of the vocabulary, or the reading fails.
void CheckTokens(const IndexedDataset& dataset, int vocab_size) {
  std::vector<int32_t> ids(static_cast<size_t>(dataset.num_tokens()));
  if (!dataset.Read(0, vocab_size, absl::MakeSpan(ids)).ok()) return;
  for (const int32_t id : ids) CHECK(id >= 0 && id < vocab_size);
}

}  // namespace

absl::Status ReadHostile(absl::string_view bytes) {
  if (bytes.size() < 2) return absl::DataLossError("no length of .idx");
  const size_t length = static_cast<unsigned char>(bytes[0]) |
                        static_cast<size_t>(static_cast<uint8_t>(bytes[1]))
                            << 8;
  bytes.remove_prefix(2);
  MemoryFiles files;
  files.Add("P.idx", bytes.substr(0, length));
  files.Add("P.bin", bytes.substr(std::min(length, bytes.size())));
  const auto dataset = IndexedDataset::Open(files, "P");
  if (!dataset.ok()) return dataset.status();
  const int64_t bin_bytes = *files.FileSize("P.bin");
  CHECK((*dataset)->num_tokens() * TokenBytes((*dataset)->token_type()) ==
        bin_bytes);
  CheckDocuments(**dataset);
  CheckTokens(**dataset, 100);
  CheckTokens(**dataset, std::numeric_limits<int>::max());
  return absl::OkStatus();
}

}  // namespace moe

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  moe::ReadHostile({reinterpret_cast<const char*>(data), size}).IgnoreError();
  return 0;
}
