#include "launch/command/inspect_tokens.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "comm/base/counted.h"
#include "comm/base/status_macros.h"
#include "data/indexed_dataset.h"
#include "data/storage/file_system.h"
#include "data/text/tokenizer.h"

namespace moe {
namespace {

constexpr int64_t kShownDocuments = 5;
constexpr int64_t kShownTokens = 32;

int64_t LengthOf(const IndexedDataset& dataset, int64_t document) {
  return dataset.DocumentBegin(document + 1) - dataset.DocumentBegin(document);
}

std::string Lengths(const IndexedDataset& dataset) {
  const int64_t documents = dataset.num_documents();
  if (documents == 0) return "";
  int64_t shortest = LengthOf(dataset, 0);
  int64_t longest = shortest;
  for (int64_t i = 1; i < documents; ++i) {
    shortest = std::min(shortest, LengthOf(dataset, i));
    longest = std::max(longest, LengthOf(dataset, i));
  }
  return absl::StrFormat("tokens of a document: %d to %d, mean %.1f\n",
                         shortest, longest,
                         static_cast<double>(dataset.num_tokens()) /
                             static_cast<double>(documents));
}

absl::StatusOr<std::string> Beginning(const IndexedDataset& dataset,
                                      int64_t document,
                                      const Tokenizer* tokenizer) {
  const int64_t length = LengthOf(dataset, document);
  std::vector<int32_t> ids(static_cast<size_t>(std::min(length, kShownTokens)));
  RETURN_IF_ERROR(dataset.Read(dataset.DocumentBegin(document),
                               std::numeric_limits<int>::max(),
                               absl::MakeSpan(ids)));
  const std::string shown =
      tokenizer == nullptr
          ? absl::StrJoin(ids, " ")
          : absl::StrCat("\"", absl::Utf8SafeCEscape(tokenizer->Decode(ids)),
                         "\"");
  return absl::StrCat("document ", document, ", ", Counted(length, "token"),
                      ": ", shown, length > kShownTokens ? " ...\n" : "\n");
}

}  // namespace

absl::StatusOr<std::string> InspectTokens(const std::string& prefix,
                                          const std::string& tokenizer_path) {
  ASSIGN_OR_RETURN(const auto dataset,
                   IndexedDataset::Open(PosixFileSystem(), prefix));
  std::unique_ptr<Tokenizer> tokenizer;
  if (!tokenizer_path.empty()) {
    ASSIGN_OR_RETURN(tokenizer, Tokenizer::Load(tokenizer_path));
  }
  std::string text =
      absl::StrFormat("%s: %s, %s, %s (%s)\n%s", prefix,
                      Counted(dataset->num_documents(), "document"),
                      Counted(dataset->num_sequences(), "sequence"),
                      Counted(dataset->num_tokens(), "token"),
                      TokenTypeName(dataset->token_type()), Lengths(*dataset));
  const int64_t shown = std::min(dataset->num_documents(), kShownDocuments);
  for (int64_t i = 0; i < shown; ++i) {
    ASSIGN_OR_RETURN(const std::string line,
                     Beginning(*dataset, i, tokenizer.get()));
    absl::StrAppend(&text, line);
  }
  return text;
}

}  // namespace moe
