#include "data/text/bpe_encoder.h"

#include "data/text/utf8.h"

namespace moe {

// Turns symbols into ids. Characters in no piece become their bytes or, where
// the model has no bytes, one unknown id for a run of them.
class BpeEncoder::Output {
 public:
  Output(const SentencePieceModel& model, std::vector<int32_t>& ids)
      : model_(model), ids_(ids) {}

  void Piece(int32_t id) {
    ids_.push_back(id);
    behind_unknown_ = false;
  }

  void Unknown(absl::string_view character) {
    if (model_.byte_fallback) {
      for (const char c : character) {
        ids_.push_back(model_.byte_ids[static_cast<uint8_t>(c)]);
      }
      return;
    }
    if (!behind_unknown_) ids_.push_back(model_.unk_id);
    behind_unknown_ = true;
  }

 private:
  const SentencePieceModel& model_;
  std::vector<int32_t>& ids_;
  bool behind_unknown_ = false;
};

BpeEncoder::BpeEncoder(const SentencePieceModel& model,
                       const PrefixMatcher& user_defined)
    : model_(model),
      user_defined_(user_defined),
      vocabulary_(model),
      cutter_(model) {
  BpeMerger merger(vocabulary_, user_defined_);
  for (const SentencePiece& piece : model.pieces) {
    if (!piece.IsOfText() || piece.type == PieceType::kUnused) continue;
    merger.Run(piece.text);
    const BpeMerger::Symbol& first = merger.symbols()[0];
    if (first.next == BpeMerger::kEnd) whole_[piece.text] = first.id;
  }
}

void BpeEncoder::Encode(absl::string_view text,
                        std::vector<int32_t>& ids) const {
  BpeMerger merger(vocabulary_, user_defined_);
  Output output(model_, ids);
  while (!text.empty()) {
    const absl::string_view part = text.substr(0, cutter_.FirstPart(text));
    text.remove_prefix(part.size());
    const auto whole = whole_.find(part);
    if (whole != whole_.end()) {
      output.Piece(whole->second);
    } else {
      EncodePart(part, merger, output);
    }
  }
}

void BpeEncoder::EncodePart(absl::string_view part, BpeMerger& merger,
                            Output& output) const {
  merger.Run(part);
  std::vector<int32_t> open;  // symbols to be put out, the next one last
  for (uint32_t i = 0; i != BpeMerger::kEnd; i = merger.symbols()[i].next) {
    const BpeMerger::Symbol& symbol = merger.symbols()[i];
    size_t begin = symbol.begin;
    open.assign(1, symbol.id);
    while (!open.empty()) {
      const int32_t id = open.back();
      open.pop_back();
      const auto* parts =
          vocabulary_.IsUnused(id) ? merger.PartsOf(id) : nullptr;
      if (parts != nullptr) {
        open.push_back(parts->second);
        open.push_back(parts->first);
      } else if (vocabulary_.IsPiece(id)) {
        output.Piece(id);
        begin += model_.pieces[static_cast<size_t>(id)].text.size();
      } else {
        const absl::string_view rest = part.substr(begin);
        const size_t length = Utf8CharacterLength(rest);
        output.Unknown(rest.substr(0, length));
        begin += length;
      }
    }
  }
}

}  // namespace moe
