#ifndef TESTS_DATA_MODEL_BUILDER_H_
#define TESTS_DATA_MODEL_BUILDER_H_

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "data/text/sentencepiece_model.h"
#include "data/text/sentencepiece_model.pb.h"
#include "data/text/tokenizer.h"

namespace moe {

// A BPE model made by hand: <unk> <s> </s>, then what is added. Without
// byte_fallback until Bytes(), and like Mixtral's in its other options.
class ModelBuilder {
 public:
  ModelBuilder() {
    proto.mutable_trainer()->set_model_type(2);
    proto.mutable_normalizer()->set_name("identity");
    proto.mutable_normalizer()->set_remove_extra_whitespaces(false);
    Add("<unk>", 0, PieceType::kUnknown);
    Add("<s>", 0, PieceType::kControl);
    Add("</s>", 0, PieceType::kControl);
  }

  ModelBuilder& Add(absl::string_view text, float score,
                    PieceType type = PieceType::kNormal) {
    SentencePieceModelProto::Piece* piece = proto.add_pieces();
    piece->set_piece(std::string(text));
    piece->set_score(score);
    piece->set_type(static_cast<int>(type));
    return *this;
  }

  // Pieces of descending score, as training makes them.
  ModelBuilder& Add(std::initializer_list<absl::string_view> texts) {
    for (const absl::string_view text : texts) {
      Add(text, -static_cast<float>(proto.pieces_size()));
    }
    return *this;
  }

  ModelBuilder& Bytes() {
    proto.mutable_trainer()->set_byte_fallback(true);
    for (int byte = 0; byte < 256; ++byte) {
      Add(absl::StrFormat("<0x%02X>", byte), 0, PieceType::kByte);
    }
    return *this;
  }

  std::string Serialize() const { return proto.SerializeAsString(); }
  absl::StatusOr<std::unique_ptr<Tokenizer>> Load() const {
    return Tokenizer::FromBytes(Serialize());
  }

  SentencePieceModelProto proto;
};

inline std::vector<int32_t> EncodeIds(const Tokenizer& tokenizer,
                                      absl::string_view text) {
  std::vector<int32_t> ids;
  tokenizer.Encode(text, ids);
  return ids;
}

// The pieces of the ids, a blank between two; "_" for U+2581.
inline std::string EncodePieces(const Tokenizer& tokenizer,
                                absl::string_view text) {
  const std::string pieces = absl::StrJoin(
      EncodeIds(tokenizer, text), " ", [&](std::string* out, int32_t id) {
        absl::StrAppend(out, tokenizer.Piece(id));
      });
  return absl::StrReplaceAll(pieces, {{kSpaceSymbol, "_"}});
}

}  // namespace moe

#endif  // TESTS_DATA_MODEL_BUILDER_H_
