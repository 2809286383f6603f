#include "data/text/text_cutter.h"

#include <cstdint>

namespace moe {
namespace {

constexpr uint8_t kSpaceClass = 128;
constexpr uint8_t kOtherClass = 129;

struct Character {
  uint8_t character_class;
  size_t size;
};

// The character at `offset` of well-formed text.
Character At(absl::string_view text, size_t offset) {
  const uint8_t lead = static_cast<uint8_t>(text[offset]);
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xE0) return {kOtherClass, 2};
  if (lead >= 0xF0) return {kOtherClass, 4};
  const bool is_space = text.substr(offset, 3) == kSpaceSymbol;
  return {is_space ? kSpaceClass : kOtherClass, 3};
}

}  // namespace

TextCutter::TextCutter(const SentencePieceModel& model) {
  for (const SentencePiece& piece : model.pieces) {
    if (!piece.IsOfText()) continue;
    const absl::string_view text = piece.text;
    Character left = At(text, 0);
    for (size_t offset = left.size; offset < text.size();) {
      const Character right = At(text, offset);
      joined_[left.character_class][right.character_class] = true;
      offset += right.size;
      left = right;
    }
  }
}

size_t TextCutter::FirstPart(absl::string_view text) const {
  if (text.empty()) return 0;
  Character left = At(text, 0);
  size_t offset = left.size;
  while (offset < text.size()) {
    const Character right = At(text, offset);
    if (!joined_[left.character_class][right.character_class]) return offset;
    offset += right.size;
    left = right;
  }
  return offset;
}

}  // namespace moe
