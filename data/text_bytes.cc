#include "data/text_bytes.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/strings/str_replace.h"
#include "comm/status_macros.h"
#include "data/sentencepiece_model.h"

namespace moe {
namespace {

constexpr int64_t kMostTokens = int64_t{16} << 20;

int64_t BytesOfPiece(const SentencePieceModel& model,
                     const SentencePiece& piece) {
  switch (piece.type) {
    case PieceType::kControl:
      return 0;
    case PieceType::kByte:
      return 1;
    case PieceType::kUnknown:
      return static_cast<int64_t>(model.unk_surface.size());
    default:
      return static_cast<int64_t>(
          absl::StrReplaceAll(piece.text, {{kSpaceSymbol, " "}}).size());
  }
}

// An id that the tokenizer does not know counts as its unknown piece.
absl::StatusOr<int64_t> BytesOf(const TokenStream& stream,
                                const SentencePieceModel& model,
                                absl::Span<const int64_t> piece_bytes) {
  std::vector<int32_t> ids(size_t{1} << 16);
  int64_t bytes = 0;
  for (int64_t first = 0; first < stream.size();) {
    const int64_t count = std::min<int64_t>(stream.size() - first,
                                            static_cast<int64_t>(ids.size()));
    ids.resize(static_cast<size_t>(count));
    RETURN_IF_ERROR(stream.Read(first, absl::MakeSpan(ids)));
    for (const int32_t id : ids) {
      const size_t known = static_cast<size_t>(id) < piece_bytes.size()
                               ? static_cast<size_t>(id)
                               : static_cast<size_t>(model.unk_id);
      bytes += piece_bytes[known];
    }
    first += count;
  }
  // Encoding put a space before each document that its text does not have.
  return model.add_dummy_prefix ? bytes - stream.CountDocuments() : bytes;
}

}  // namespace

absl::StatusOr<double> MeanTextBytes(const Tokenizer& tokenizer,
                                     absl::Span<const TokenStream> streams) {
  const SentencePieceModel& model = tokenizer.model();
  std::vector<int64_t> piece_bytes;
  for (const SentencePiece& piece : model.pieces) {
    piece_bytes.push_back(BytesOfPiece(model, piece));
  }
  int64_t bytes = 0;
  int64_t tokens = 0;
  for (const TokenStream& stream : streams) {
    const TokenStream part =
        stream.Slice(0, std::min(stream.size(), kMostTokens));
    ASSIGN_OR_RETURN(const int64_t part_bytes,
                     BytesOf(part, model, piece_bytes));
    bytes += part_bytes;
    tokens += part.size();
  }
  if (tokens == 0) return 0.0;
  return static_cast<double>(bytes) / static_cast<double>(tokens);
}

}  // namespace moe
