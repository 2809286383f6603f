// Why the list is exact.
//
// 1. A piece is always made by the same merge. What happens inside a stretch of
//    text does not depend on what stands around it, as long as no merge reaches
//    across its ends: of the merges inside, the best goes first. So wherever a
//    piece comes up, its characters were merged as they are where the piece is
//    the whole text, and the last of these merges is the only one that makes
//    it. A piece that its own text does not become is never made by any.
// 2. So each piece has at most one line. If all scores differ, the order of the
//    scores is the order of the list, and both programs do the same in each
//    step: the best merge, at its leftmost place.
// 3. Merges of one score go from left to right in SentencePiece, by line and
//    then from left to right in the list. This is the same result where (a) no
//    piece of that score is a part of a merge that has the score or a higher
//    one, so that nothing comes between, and (b) no two different merges of
//    that score can want the same symbol: then their order does not matter.
// 4. It is also the same for runs of one character, cc, ccc, ..., the longest
//    first in the list, with (a) for merges of other scores. Nothing is
//    possible to the left of the symbol that was made last, so this symbol
//    merges with the one before it or else with the c behind it, or the next
//    two c merge. The list says the same: the symbol before is longer than c,
//    for two c that stand together merge before what is behind them, and the
//    results are the longer the further left they are. Mixtral's runs of spaces
//    are such pieces.
#include "data/text/merge_list.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "comm/base/status_macros.h"
#include "data/text/bpe_merger.h"
#include "data/text/bpe_vocabulary.h"
#include "data/text/prefix_matcher.h"
#include "data/text/utf8.h"

namespace moe {
namespace {

class ListMaker {
 public:
  explicit ListMaker(const SentencePieceModel& model) : model_(model) {}

  absl::StatusOr<std::vector<ListedMerge>> Make() {
    RETURN_IF_ERROR(FindMerges());
    std::stable_sort(merges_.begin(), merges_.end(),
                     [this](const ListedMerge& a, const ListedMerge& b) {
                       return Score(a.piece) > Score(b.piece);
                     });
    RETURN_IF_ERROR(OrderEqualScores());
    return std::move(merges_);
  }

 private:
  absl::string_view Text(int32_t id) const {
    return model_.pieces[static_cast<size_t>(id)].text;
  }
  float Score(int32_t id) const {
    return model_.pieces[static_cast<size_t>(id)].score;
  }
  std::string Named(int32_t id) const {
    return absl::StrCat("piece ", id, " (\"", absl::Utf8SafeCEscape(Text(id)),
                        "\")");
  }

  absl::Status FindMerges();
  absl::Status OrderEqualScores();
  absl::Status CheckOverlaps(absl::Span<const ListedMerge> equal) const;
  absl::Status CheckParts() const;
  absl::Status PlaceDecides(int32_t one, int32_t other) const;
  bool AreRuns(absl::Span<const ListedMerge> equal) const;

  const SentencePieceModel& model_;
  std::vector<ListedMerge> merges_;
  // The pieces whose score another one has, and whether they are runs.
  absl::flat_hash_map<int32_t, bool> tied_;
};

// The last merge of each piece's own text, in the order of the pieces.
absl::Status ListMaker::FindMerges() {
  const BpeVocabulary vocabulary(model_);
  const PrefixMatcher user_defined(model_.UserDefinedTexts());
  BpeMerger merger(vocabulary, user_defined);
  for (size_t i = 0; i < model_.pieces.size(); ++i) {
    if (model_.pieces[i].type != PieceType::kNormal) continue;
    const int32_t id = static_cast<int32_t>(i);
    const absl::string_view text = Text(id);
    merger.Run(text);
    const size_t cut = merger.last_cut();
    if (cut == 0 || merger.symbols()[0].next != BpeMerger::kEnd) continue;
    const int32_t left = vocabulary.Find(text.substr(0, cut));
    const int32_t right = vocabulary.Find(text.substr(cut));
    for (const int32_t part : {left, right}) {
      if (vocabulary.IsPiece(part)) continue;
      return absl::UnimplementedError(
          absl::StrCat(Named(id), " is made of a character that is no piece"));
    }
    merges_.push_back({left, right, id});
  }
  return absl::OkStatus();
}

// Whether the merges of one score, ordered by length, are those of runs: each
// of two runs that are among them or the character.
bool ListMaker::AreRuns(absl::Span<const ListedMerge> equal) const {
  const int32_t character = equal[0].left;
  if (equal[0].right != character ||
      Utf8CharacterLength(Text(character)) != Text(character).size())
    return false;
  absl::flat_hash_set<int32_t> runs = {character};
  for (const ListedMerge& merge : equal) {
    if (!runs.contains(merge.left) || !runs.contains(merge.right)) return false;
    runs.insert(merge.piece);
  }
  return true;
}

absl::Status ListMaker::PlaceDecides(int32_t one, int32_t other) const {
  return absl::UnimplementedError(absl::StrCat(
      "which of ", Named(one), " and ", Named(other),
      " comes first depends on the place in the text: the score of ", one,
      " is ", Score(one), ", that of ", other, " ", Score(other)));
}

// (b) for the merges of one score.
absl::Status ListMaker::CheckOverlaps(
    absl::Span<const ListedMerge> equal) const {
  absl::flat_hash_map<int32_t, std::vector<int32_t>> by_left;  // part, pieces
  for (const ListedMerge& merge : equal)
    by_left[merge.left].push_back(merge.piece);
  for (const ListedMerge& merge : equal) {
    const auto next = by_left.find(merge.right);
    if (next == by_left.end()) continue;
    for (const int32_t piece : next->second)
      if (piece != merge.piece) return PlaceDecides(merge.piece, piece);
  }
  return absl::OkStatus();
}

// (a) for all merges.
absl::Status ListMaker::CheckParts() const {
  for (const ListedMerge& merge : merges_) {
    for (const int32_t part : {merge.left, merge.right}) {
      const auto tied = tied_.find(part);
      if (tied == tied_.end() || Score(merge.piece) < Score(part)) continue;
      if (tied->second && Score(merge.piece) == Score(part)) continue;
      return PlaceDecides(part, merge.piece);
    }
  }
  return absl::OkStatus();
}

absl::Status ListMaker::OrderEqualScores() {
  const auto by_length = [this](const ListedMerge& a, const ListedMerge& b) {
    return Text(a.piece).size() < Text(b.piece).size();
  };
  for (size_t begin = 0; begin < merges_.size();) {
    size_t end = begin + 1;
    while (end < merges_.size() &&
           Score(merges_[end].piece) == Score(merges_[begin].piece)) {
      ++end;
    }
    const absl::Span<ListedMerge> equal =
        absl::MakeSpan(merges_).subspan(begin, end - begin);
    begin = end;
    if (equal.size() == 1) continue;
    std::stable_sort(equal.begin(), equal.end(), by_length);
    const bool are_runs = AreRuns(equal);
    if (!are_runs) RETURN_IF_ERROR(CheckOverlaps(equal));
    for (const ListedMerge& merge : equal) tied_[merge.piece] = are_runs;
    std::reverse(equal.begin(), equal.end());
  }
  return CheckParts();
}

}  // namespace

absl::StatusOr<std::vector<ListedMerge>> MergeList(
    const SentencePieceModel& model) {
  return ListMaker(model).Make();
}

}  // namespace moe
