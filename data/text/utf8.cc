#include "data/text/utf8.h"

#include <cstdint>
#include <cstring>

#include "absl/strings/str_format.h"

namespace moe {
namespace {

// What may follow a lead byte: the character's length and the range of its
// second byte; further bytes are 80..BF.
struct Lead {
  size_t length;
  uint8_t low;
  uint8_t high;
};

Lead LeadOf(uint8_t byte) {
  if (byte < 0x80) return {1, 0, 0};
  if (byte < 0xC2) return {0, 0, 0};  // a continuation, or overlong
  if (byte < 0xE0) return {2, 0x80, 0xBF};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};  // no surrogates
  if (byte < 0xF0) return {3, 0x80, 0xBF};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte < 0xF4) return {4, 0x80, 0xBF};
  if (byte == 0xF4) return {4, 0x80, 0x8F};  // up to U+10FFFF
  return {0, 0, 0};
}

// Bytes behind the lead that agree with it, at most length - 1.
size_t GoodContinuations(absl::string_view text, const Lead& lead) {
  size_t good = 0;
  for (size_t i = 1; i < lead.length && i < text.size(); ++i) {
    const uint8_t byte = static_cast<uint8_t>(text[i]);
    const uint8_t low = i == 1 ? lead.low : 0x80;
    const uint8_t high = i == 1 ? lead.high : 0xBF;
    if (byte < low || byte > high) break;
    ++good;
  }
  return good;
}

}  // namespace

size_t Utf8CharacterLength(absl::string_view text) {
  if (text.empty()) return 0;
  const Lead lead = LeadOf(static_cast<uint8_t>(text[0]));
  if (lead.length < 2) return lead.length;
  return GoodContinuations(text, lead) == lead.length - 1 ? lead.length : 0;
}

bool IsIncompleteUtf8(absl::string_view text) {
  if (text.empty()) return false;
  const Lead lead = LeadOf(static_cast<uint8_t>(text[0]));
  return text.size() < lead.length &&
         GoodContinuations(text, lead) == text.size() - 1;
}

std::string PrintableText(absl::string_view text) {
  std::string printable;
  while (!text.empty()) {
    const size_t length = Utf8CharacterLength(text);
    const absl::string_view first = text.substr(0, length > 0 ? length : 1);
    const uint8_t lead = static_cast<uint8_t>(first[0]);
    const bool is_control =
        lead == 0x7F || (lead < 0x20 && lead != '\n' && lead != '\t') ||
        (length == 2 && lead == 0xC2 && static_cast<uint8_t>(first[1]) < 0xA0);
    if (length > 0 && !is_control) {
      printable.append(first.data(), first.size());
    } else {
      for (const char c : first)
        absl::StrAppendFormat(&printable, "\\x%02X", static_cast<uint8_t>(c));
    }
    text.remove_prefix(first.size());
  }
  return printable;
}

size_t ValidUtf8Prefix(absl::string_view text) {
  size_t offset = 0;
  while (offset < text.size()) {
    uint64_t word;
    if (text.size() - offset >= sizeof word) {  // eight of ASCII at once
      std::memcpy(&word, text.data() + offset, sizeof word);
      if ((word & 0x8080808080808080) == 0) {
        offset += sizeof word;
        continue;
      }
    }
    const size_t length = Utf8CharacterLength(text.substr(offset));
    if (length == 0) return offset;
    offset += length;
  }
  return text.size();
}

IllFormedBytes FindIllFormedBytes(absl::string_view text) {
  IllFormedBytes found;
  for (size_t at = ValidUtf8Prefix(text); at < text.size();
       at += 1 + ValidUtf8Prefix(text.substr(at + 1))) {
    if (found.count == 0) found.first = static_cast<int64_t>(at);
    ++found.count;
  }
  return found;
}

}  // namespace moe
