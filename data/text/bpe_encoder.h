#ifndef DATA_TEXT_BPE_ENCODER_H_
#define DATA_TEXT_BPE_ENCODER_H_

#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "data/text/bpe_merger.h"
#include "data/text/bpe_vocabulary.h"
#include "data/text/prefix_matcher.h"
#include "data/text/sentencepiece_model.h"
#include "data/text/text_cutter.h"

namespace moe {

// Normalized text to ids. Immutable.
class BpeEncoder {
 public:
  // Both must outlive the encoder.
  BpeEncoder(const SentencePieceModel& model,
             const PrefixMatcher& user_defined);

  // Appends the ids of `text`, which is well-formed UTF-8.
  void Encode(absl::string_view text, std::vector<int32_t>& ids) const;

 private:
  class Output;
  void EncodePart(absl::string_view part, BpeMerger& merger,
                  Output& output) const;

  const SentencePieceModel& model_;
  const PrefixMatcher& user_defined_;
  BpeVocabulary vocabulary_;
  TextCutter cutter_;
  // Pieces that merging makes of their own text: most words of a text are one
  // of them and need no merging.
  absl::flat_hash_map<absl::string_view, int32_t> whole_;
};

}  // namespace moe

#endif  // DATA_TEXT_BPE_ENCODER_H_
