#include "data/text/bpe_vocabulary.h"

#include <algorithm>
#include <functional>

#include "data/text/utf8.h"

namespace moe {
namespace {

uint64_t PairKey(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 |
         static_cast<uint32_t>(right);
}

// Distinct scores of pieces, the highest first: an index here is a rank.
std::vector<float> SortedScores(const SentencePieceModel& model) {
  std::vector<float> scores;
  for (const SentencePiece& piece : model.pieces) scores.push_back(piece.score);
  std::sort(scores.begin(), scores.end(), std::greater<>());
  scores.erase(std::unique(scores.begin(), scores.end()), scores.end());
  return scores;
}

}  // namespace

BpeVocabulary::BpeVocabulary(const SentencePieceModel& model) : model_(model) {
  AddSymbols();
  const std::vector<float> scores = SortedScores(model);
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    if (!model.pieces[id].IsOfText()) continue;
    const auto place = std::lower_bound(
        scores.begin(), scores.end(), model.pieces[id].score, std::greater<>());
    AddMergesInto(static_cast<int32_t>(id),
                  static_cast<uint32_t>(place - scores.begin()));
  }
}

void BpeVocabulary::AddSymbols() {
  symbols_.reserve(model_.pieces.size());
  for (size_t id = 0; id < model_.pieces.size(); ++id) {
    const SentencePiece& piece = model_.pieces[id];
    if (piece.IsOfText()) symbols_[piece.text] = static_cast<int32_t>(id);
  }
  int32_t next = static_cast<int32_t>(model_.pieces.size());
  for (const SentencePiece& piece : model_.pieces) {
    if (!piece.IsOfText()) continue;
    absl::string_view rest = piece.text;
    while (!rest.empty()) {
      const size_t length = Utf8CharacterLength(rest);
      if (symbols_.emplace(rest.substr(0, length), next).second) ++next;
      rest.remove_prefix(length);
    }
  }
  for (size_t c = 0; c < ascii_.size(); ++c) {
    const char text = static_cast<char>(c);
    const auto entry = symbols_.find(absl::string_view(&text, 1));
    ascii_[c] = entry == symbols_.end() ? kNone : entry->second;
  }
}

void BpeVocabulary::AddMergesInto(int32_t symbol, uint32_t rank) {
  const absl::string_view text =
      model_.pieces[static_cast<size_t>(symbol)].text;
  for (size_t cut = Utf8CharacterLength(text); cut < text.size();
       cut += Utf8CharacterLength(text.substr(cut))) {
    const int32_t left = Find(text.substr(0, cut));
    if (left == kNone) continue;
    const int32_t right = Find(text.substr(cut));
    if (right == kNone) continue;
    merges_[PairKey(left, right)] = {rank, symbol};
  }
}

int32_t BpeVocabulary::Find(absl::string_view text) const {
  if (text.size() == 1 && static_cast<uint8_t>(text[0]) < ascii_.size()) {
    return ascii_[static_cast<uint8_t>(text[0])];
  }
  const auto entry = symbols_.find(text);
  return entry == symbols_.end() ? kNone : entry->second;
}

const BpeVocabulary::Merge* BpeVocabulary::FindMerge(int32_t left,
                                                     int32_t right) const {
  if (left < 0 || right < 0) return nullptr;
  const auto entry = merges_.find(PairKey(left, right));
  return entry == merges_.end() ? nullptr : &entry->second;
}

}  // namespace moe
