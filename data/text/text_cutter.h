#ifndef DATA_TEXT_TEXT_CUTTER_H_
#define DATA_TEXT_TEXT_CUTTER_H_

#include <array>
#include <cstddef>

#include "absl/strings/string_view.h"
#include "data/text/sentencepiece_model.h"

namespace moe {

// Cuts normalized text where no merge can reach across, so that each part can
// be encoded by itself with the same result. A merge across a place needs a
// piece in which the two characters there stand side by side; where the
// vocabulary has no such piece, a cut is safe. Characters are told apart as
// the 128 of ASCII, U+2581, and all others as one.
class TextCutter {
 public:
  explicit TextCutter(const SentencePieceModel& model);

  // Bytes of the first part of `text`, which is well-formed UTF-8; at least
  // one character, or 0 of an empty text.
  size_t FirstPart(absl::string_view text) const;

 private:
  static constexpr size_t kClasses = 130;

  // [left][right]: whether some piece has the two side by side.
  std::array<std::array<bool, kClasses>, kClasses> joined_ = {};
};

}  // namespace moe

#endif  // DATA_TEXT_TEXT_CUTTER_H_
