#ifndef DATA_TEXT_SENTENCEPIECE_MODEL_H_
#define DATA_TEXT_SENTENCEPIECE_MODEL_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace moe {

// U+2581, what stands for a space in pieces.
inline constexpr absl::string_view kSpaceSymbol = "\xE2\x96\x81";

enum class PieceType {
  kNormal = 1,
  kUnknown = 2,      // what stands for text that no piece covers
  kControl = 3,      // <s>, </s>: never the result of text
  kUserDefined = 4,  // found first, never split or merged
  kUnused = 5,       // merges pass through it, its parts are the result
  kByte = 6,         // <0x00> ... <0xFF>
};

struct SentencePiece {
  std::string text;
  float score = 0;  // merges with the higher score come first
  PieceType type = PieceType::kNormal;

  // Whether text can turn into it by characters and merges.
  bool IsOfText() const {
    return type == PieceType::kNormal || type == PieceType::kUserDefined ||
           type == PieceType::kUnused;
  }
};

// A BPE model of SentencePiece: the index of a piece is its id.
struct SentencePieceModel {
  std::vector<SentencePiece> pieces;
  int unk_id = -1;
  int bos_id = -1;  // -1: the model has none
  int eos_id = -1;
  bool byte_fallback = false;
  std::array<int32_t, 256> byte_ids = {};  // under byte_fallback
  std::string unk_surface;                 // the text of the unknown piece

  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;

  // The texts of the user-defined pieces, which live as long as the model.
  std::vector<absl::string_view> UserDefinedTexts() const;
};

// Three times the largest models in use. A hostile one takes up to thirty
// times its size in memory.
inline constexpr int64_t kMaxModelBytes = int64_t{16} << 20;

// Reads a serialized ModelProto. DataLoss: it is none, or contradicts itself.
// FailedPrecondition: a kind that we do not encode, and which; or larger than
// any in use.
absl::StatusOr<SentencePieceModel> ParseSentencePieceModel(
    absl::string_view bytes);

}  // namespace moe

#endif  // DATA_TEXT_SENTENCEPIECE_MODEL_H_
