#ifndef DATA_TEXT_TEXT_NORMALIZER_H_
#define DATA_TEXT_TEXT_NORMALIZER_H_

#include <string>

#include "absl/strings/string_view.h"
#include "data/text/prefix_matcher.h"
#include "data/text/sentencepiece_model.h"

namespace moe {

// Text in the form that pieces are cut from: spaces are U+2581, a byte that is
// no UTF-8 is U+FFFD, and the model's options about white space are applied.
class TextNormalizer {
 public:
  // Both must outlive the normalizer; `user_defined` knows the pieces of the
  // text that are taken as they stand.
  TextNormalizer(const SentencePieceModel& model,
                 const PrefixMatcher& user_defined);

  std::string Normalize(absl::string_view text) const;

 private:
  // What the text begins with: a user-defined piece or a character, and the
  // number of bytes it takes.
  struct Unit {
    absl::string_view text;
    size_t size;
  };
  Unit FirstUnit(absl::string_view text) const;
  void AppendEscaped(absl::string_view text, std::string& out) const;
  void AppendUnits(absl::string_view text, std::string& out) const;

  const SentencePieceModel& model_;
  const PrefixMatcher& user_defined_;
  absl::string_view space_;
};

}  // namespace moe

#endif  // DATA_TEXT_TEXT_NORMALIZER_H_
