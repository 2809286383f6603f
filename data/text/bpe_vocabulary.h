#ifndef DATA_TEXT_BPE_VOCABULARY_H_
#define DATA_TEXT_BPE_VOCABULARY_H_

#include <array>
#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "data/text/sentencepiece_model.h"

namespace moe {

// The pieces of a model as numbered symbols, and which two of them merge into
// which third. A piece's symbol is its id; characters that occur in pieces but
// are none themselves have symbols from vocab_size on.
class BpeVocabulary {
 public:
  static constexpr int32_t kNone = -1;  // no symbol

  // A merge of two symbols; the lowest rank goes first.
  struct Merge {
    uint32_t rank;
    int32_t symbol;
  };

  // `model` must outlive the vocabulary.
  explicit BpeVocabulary(const SentencePieceModel& model);

  // The symbol of a piece or a character, kNone if no piece has such a part.
  int32_t Find(absl::string_view text) const;
  // The merge of two neighbours, null if there is none.
  const Merge* FindMerge(int32_t left, int32_t right) const;

  bool IsPiece(int32_t symbol) const {
    return symbol >= 0 && static_cast<size_t>(symbol) < model_.pieces.size();
  }
  bool IsUnused(int32_t symbol) const {
    return IsPiece(symbol) && model_.pieces[static_cast<size_t>(symbol)].type ==
                                  PieceType::kUnused;
  }
  const SentencePieceModel& model() const { return model_; }

 private:
  void AddSymbols();
  void AddMergesInto(int32_t symbol, uint32_t rank);

  const SentencePieceModel& model_;
  absl::flat_hash_map<absl::string_view, int32_t> symbols_;
  std::array<int32_t, 128> ascii_;  // the same, of one-byte characters
  absl::flat_hash_map<uint64_t, Merge> merges_;
};

}  // namespace moe

#endif  // DATA_TEXT_BPE_VOCABULARY_H_
