#ifndef DATA_TEXT_BPE_MERGER_H_
#define DATA_TEXT_BPE_MERGER_H_

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "data/text/bpe_vocabulary.h"
#include "data/text/prefix_matcher.h"

namespace moe {

// Byte pair encoding of one text: characters are merged, the pair of the
// highest score first and of equal ones the leftmost, until none is left
// (Sennrich et al., "Neural Machine Translation of Rare Words with Subword
// Units", 2016). O(n log n) by a heap of candidate pairs. Keeps its memory
// from text to text; one thread.
class BpeMerger {
 public:
  static constexpr uint32_t kEnd = 0xFFFFFFFF;

  struct Symbol {
    int32_t id;         // of BpeVocabulary; kNone of a character in no piece
    uint32_t begin;     // offset in the text
    uint32_t previous;  // indices of symbols(), kEnd at the ends
    uint32_t next;
    bool frozen;  // a user-defined piece: takes no part in merges
  };

  BpeMerger(const BpeVocabulary& vocabulary, const PrefixMatcher& user_defined)
      : vocabulary_(vocabulary), user_defined_(user_defined) {}

  // `text`: normalized, well-formed UTF-8, below 4 GiB.
  void Run(absl::string_view text);

  // The result is a list that begins at symbol 0 and is linked by `next`.
  const std::vector<Symbol>& symbols() const { return symbols_; }
  // The two symbols that an unused one is merged from, the same two wherever
  // it comes up: what stands around a place cannot change the order of merges
  // inside. Null if it did not come up.
  const std::pair<int32_t, int32_t>* PartsOf(int32_t unused) const;
  // Where the two symbols of the last merge met, an offset in the text; 0 if
  // nothing was merged.
  size_t last_cut() const { return last_cut_; }

 private:
  void Split(absl::string_view text);
  const BpeVocabulary::Merge* MergeAt(uint32_t left) const;
  void Consider(uint32_t left);
  void Apply(uint32_t left, int32_t merged);

  const BpeVocabulary& vocabulary_;
  const PrefixMatcher& user_defined_;
  std::vector<Symbol> symbols_;
  size_t last_cut_ = 0;
  // Candidates as rank << 32 | index of the left symbol. One whose pair has
  // changed since is found out when it comes up.
  std::vector<uint64_t> heap_;
  absl::flat_hash_map<int32_t, std::pair<int32_t, int32_t>> parts_;
};

}  // namespace moe

#endif  // DATA_TEXT_BPE_MERGER_H_
