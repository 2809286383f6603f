#ifndef DATA_TEXT_MERGE_LIST_H_
#define DATA_TEXT_MERGE_LIST_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "data/text/sentencepiece_model.h"

namespace moe {

// One line of a merge list: two neighbours that become a piece. All three are
// ids of pieces.
struct ListedMerge {
  int32_t left;
  int32_t right;
  int32_t piece;
};

// The merges of `model` as a list, the form in which Hugging Face's tokenizers
// keeps them: of all merges that are possible in a text the first in the list
// goes first, and of places with the same merge the leftmost. SentencePiece
// orders by score and breaks ties by place. The list gives the same pieces for
// every text; where none does, Unimplemented says why and names the pieces.
absl::StatusOr<std::vector<ListedMerge>> MergeList(
    const SentencePieceModel& model);

}  // namespace moe

#endif  // DATA_TEXT_MERGE_LIST_H_
