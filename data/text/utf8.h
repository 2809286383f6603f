#ifndef DATA_TEXT_UTF8_H_
#define DATA_TEXT_UTF8_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace moe {

// U+FFFD, what stands for a byte that is no UTF-8.
inline constexpr absl::string_view kReplacementCharacter = "\xEF\xBF\xBD";

// Bytes of the character that `text` begins with; 0 if there is none: text is
// empty, ends inside the character, or is ill-formed there (a lone
// continuation byte, an overlong form, a surrogate, above U+10FFFF; Unicode
// 15, table 3-7).
size_t Utf8CharacterLength(absl::string_view text);

// Whether `text` is the beginning of a character, at least one byte short:
// more bytes can make it whole.
bool IsIncompleteUtf8(absl::string_view text);

// `text` for a terminal: each byte that is not UTF-8 and each control character
// but \n and \t as \xNN.
std::string PrintableText(absl::string_view text);

// Offset of the first ill-formed byte, text.size() if there is none.
size_t ValidUtf8Prefix(absl::string_view text);

// The bytes that are no UTF-8, each of which a tokenizer reads as U+FFFD.
struct IllFormedBytes {
  int64_t count = 0;
  int64_t first = -1;  // its offset; -1: there is none
};
IllFormedBytes FindIllFormedBytes(absl::string_view text);

}  // namespace moe

#endif  // DATA_TEXT_UTF8_H_
